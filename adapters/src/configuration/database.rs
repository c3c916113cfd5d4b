//! Which database answers, and how it is reached.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use toml::Spanned;

use super::{
    file::{CsvTable, DatabaseTable, ServerTable},
    findings::Findings,
    validation::MEBIBYTE,
};
use crate::{database::DatabaseError, engine::Engine, error::Error};

/// How the database is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// The database.
    pub source: Source,
    /// How many statements run at once.
    pub connections: usize,
    /// How long a statement waits for a lock that another program holds.
    pub lock_timeout: Duration,
}

impl DatabaseSettings {
    /// What went wrong, with the database that it went wrong with.
    pub(crate) fn failed(&self, source: DatabaseError) -> Error {
        Error::Database {
            database: self.source.to_string(),
            source,
        }
    }
}

/// A database of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of SQLite.
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The memory that SQLite may take in this program, all connections together.
        memory_bytes: u64,
    },
    /// A folder of CSV files, each a table.
    Csv {
        /// The folder.
        folder: PathBuf,
        /// What stands between two fields.
        delimiter: u8,
        /// Tables and columns that are to have an index.
        indexes: Vec<(String, String)>,
        /// The memory that SQLite, which they are loaded into, may take in this program.
        memory_bytes: u64,
    },
    /// A database of a PostgreSQL server.
    Postgresql(ServerSettings),
    /// A database of a MariaDB server.
    MariaDb(ServerSettings),
}

/// A database of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Where the server is.
    pub address: ServerAddress,
    /// The database.
    pub database: String,
    /// The account; it may only read, unless some methods write.
    pub user: String,
    /// Where its password is, if it has one.
    pub password: Option<PasswordPlace>,
}

/// Where a database server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A Unix socket.
    Unix {
        /// Of PostgreSQL the folder of its sockets, of MariaDB the socket itself.
        path: PathBuf,
        /// Of PostgreSQL: a part of the name of its socket.
        port: u16,
    },
    /// A host and port.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// The certificates (PEM) by which the server is known; without them only on this machine, in plaintext.
        authority: Option<PathBuf>,
    },
}

/// Where a password is kept; the password itself is nowhere in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordPlace {
    /// A file with the password in its one line.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

impl Source {
    /// The kind of database.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } | Self::Csv { .. } => Engine::Sqlite,
            Self::Postgresql(_) => Engine::Postgresql,
            Self::MariaDb(_) => Engine::MariaDb,
        }
    }
}

impl ServerSettings {
    /// The password of the account, if it has one.
    ///
    /// # Errors
    /// When it is not where it should be.
    pub fn password(&self) -> Result<Option<String>, DatabaseError> {
        let missing = |detail| DatabaseError::NotThere { detail };
        match &self.password {
            None => Ok(None),
            Some(PasswordPlace::File(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned())),
                Err(error) => Err(missing(format!(
                    "password_file {}: {error}",
                    path.display()
                ))),
            },
            Some(PasswordPlace::Variable(name)) => std::env::var(name).map(Some).map_err(|_| {
                missing(format!(
                    "the variable {name} (password_variable) is not set"
                ))
            }),
        }
    }
}

pub(super) fn database(
    findings: &mut Findings<'_>,
    folder: &Path,
    start: usize,
    table: DatabaseTable,
) -> Option<DatabaseSettings> {
    let connections = findings.number("[database] connections", table.connections, 4, 1..=64);
    let lock_timeout = findings.duration(
        "[database] lock_timeout",
        table.lock_timeout,
        Duration::from_secs(1),
        Duration::from_secs(60),
    );
    if table.sqlite.is_none()
        && table.csv.is_none()
        && let Some(written) = &table.memory_bytes
    {
        let fault = "memory_bytes is for SQLite, which works in this program; remove it";
        findings.add(written.span().start, "[database]", fault.to_owned());
    }
    let memory_bytes = findings.number(
        "[database] memory_bytes",
        table.memory_bytes,
        128 * MEBIBYTE,
        8 * MEBIBYTE..=64 * 1024 * MEBIBYTE,
    ) as u64;
    let source = match (table.sqlite, table.csv, table.postgresql, table.mariadb) {
        (None, Some(csv), None, None) => csv_folder(findings, folder, csv, memory_bytes)?,
        (Some(path), None, None, None) => Source::Sqlite {
            path: folder.join(path.get_ref()),
            memory_bytes,
        },
        (None, None, Some(server), None) => {
            Source::Postgresql(self::server(findings, folder, "postgresql", 5432, server)?)
        }
        (None, None, None, Some(server)) => {
            Source::MariaDb(self::server(findings, folder, "mariadb", 3306, server)?)
        }
        _ => {
            let fault = "give one of `sqlite`, `csv`, `postgresql` and `mariadb`";
            findings.add(start, "[database]", fault.to_owned());
            return None;
        }
    };
    Some(DatabaseSettings {
        source,
        connections,
        lock_timeout,
    })
}

fn csv_folder(
    findings: &mut Findings<'_>,
    folder: &Path,
    table: Spanned<CsvTable>,
    memory_bytes: u64,
) -> Option<Source> {
    let start = table.span().start;
    let table = table.into_inner();
    let delimiter = table.delimiter.as_deref().unwrap_or(",");
    let &[delimiter] = delimiter.as_bytes() else {
        let fault = "delimiter is one character of ASCII, for example \";\"";
        findings.add(start, "[database] csv", fault.to_owned());
        return None;
    };
    let mut indexes = Vec::with_capacity(table.indexes.len());
    for index in &table.indexes {
        match index.split_once('.') {
            Some((table, column)) => indexes.push((table.to_owned(), column.to_owned())),
            None => {
                let fault = format!("the index {index:?} is none; write TABLE.COLUMN");
                findings.add(start, "[database] csv", fault);
            }
        }
    }
    Some(Source::Csv {
        folder: folder.join(table.folder),
        delimiter,
        indexes,
        memory_bytes,
    })
}

fn server(
    findings: &mut Findings<'_>,
    folder: &Path,
    name: &str,
    usual_port: u16,
    table: Spanned<ServerTable>,
) -> Option<ServerSettings> {
    let start = table.span().start;
    let table = table.into_inner();
    let mut fault = |fault: String| {
        findings.add(start, &format!("[database] {name}"), fault);
        None
    };
    let authority = table.ca.map(|ca| folder.join(ca));
    let address = match (table.socket, table.host) {
        (Some(_), None) if authority.is_some() => {
            return fault("there is no TLS on a Unix socket; remove `ca`".to_owned());
        }
        (Some(socket), None) => ServerAddress::Unix {
            path: folder.join(socket),
            port: table.port.unwrap_or(usual_port),
        },
        (None, Some(host)) if authority.is_none() && !is_this_machine(&host) => {
            return fault(format!(
                "{host} is another machine, and records would travel in plaintext; give the certificates by which the \
                 server is known, ca = \"FILE.pem\", or use a Unix socket"
            ));
        }
        (None, Some(host)) => ServerAddress::Tcp {
            host,
            port: table.port.unwrap_or(usual_port),
            authority,
        },
        _ => return fault("give either `socket` or `host`".to_owned()),
    };
    let password = match (table.password_file, table.password_variable) {
        (None, None) => None,
        (Some(file), None) => Some(PasswordPlace::File(folder.join(file))),
        (None, Some(variable)) => Some(PasswordPlace::Variable(variable)),
        (Some(_), Some(_)) => {
            return fault("give either `password_file` or `password_variable`".to_owned());
        }
    };
    Some(ServerSettings {
        address,
        database: table.database,
        user: table.user,
        password,
    })
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = match self {
            Self::Sqlite { path, .. } => return write!(formatter, "{}", path.display()),
            Self::Csv { folder, .. } => {
                return write!(formatter, "CSV files in {}", folder.display());
            }
            Self::Postgresql(server) | Self::MariaDb(server) => server,
        };
        let (engine, database) = (self.engine().name(), &server.database);
        match &server.address {
            ServerAddress::Unix { path, port } => {
                let path = path.display();
                write!(formatter, "{engine} database {database} at {path}")?;
                match self {
                    Self::Postgresql(_) => write!(formatter, ", port {port}"),
                    _ => Ok(()),
                }
            }
            ServerAddress::Tcp { host, port, .. } => {
                write!(formatter, "{engine} database {database} at {host}:{port}")
            }
        }
    }
}
