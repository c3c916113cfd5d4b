//! What the command `adapter` is told: its commands and their options.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use trust::SubsystemId;

const EXAMPLE: &str = concat!(
    "A whole configuration, population.toml:\n\n",
    include_str!("example.toml")
);

/// Make a legacy database answer as a gRPC service, by configuration only.
///
/// A TOML file names a database (SQLite, CSV files, PostgreSQL or MariaDB) and, for each method, one SQL text: its parameters are the
/// request fields, its columns the reply fields. Write it, then run `proto`, `check` and `serve`.
#[derive(Debug, Parser)]
// The example is TOML: it must not be wrapped.
#[command(name = "adapter", version, after_long_help = EXAMPLE, term_width = 0)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write the .proto of a configuration, and give new fields their numbers.
    ///
    /// The numbers are kept in CONFIG.lock beside the configuration: commit it. A change that
    /// would break callers of the published .proto is refused.
    Proto {
        /// The configuration (TOML).
        config: PathBuf,
        /// Where the .proto is written; to standard output if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Where the encoded FileDescriptorSet is written, comments included.
        #[arg(long, value_name = "FILE")]
        descriptor: Option<PathBuf>,
        /// Publish removed fields and methods, changed types and newly required fields.
        #[arg(long)]
        accept_breaking_changes: bool,
    },
    /// Try a configuration on its database and say what does not fit.
    ///
    /// Prepares every statement, compares parameters and columns, says how the database would look
    /// for rows, and decodes a sample of each method that needs no parameters or has a `sample`.
    /// Prints counts, types, and of undecodable text single bytes; never a value.
    Check {
        /// The configuration (TOML).
        config: PathBuf,
    },
    /// Print what hosts the service at its security server: append it to the state file, and apply that.
    ///
    /// The adapter must have a fixed port or a Unix socket.
    Register {
        /// The configuration (TOML).
        config: PathBuf,
        /// The subsystem that offers the service, INSTANCE/CLASS/MEMBER/SUBSYSTEM.
        #[arg(long)]
        subsystem: SubsystemId,
        /// A subsystem that may call it; may be given several times.
        #[arg(long = "client", value_name = "SUBSYSTEM")]
        clients: Vec<SubsystemId>,
    },
    /// Write a first configuration from a table of a database.
    ///
    /// Looks at the catalogue and at some rows, and writes one method that finds one record. Every column is commented out but
    /// the one that is asked by; likely identifiers, padding, lost zeros, dates and text that is no UTF-8 are marked. No value
    /// is written. The encoding of text is never guessed.
    New {
        /// The configuration to be written (TOML); it must not be there yet.
        config: PathBuf,
        /// The table or view, in PostgreSQL maybe with its schema.
        #[arg(long, value_name = "TABLE")]
        from_table: String,
        /// The service, for example vn.population.v1.Population; one made of the table's name if not given.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        #[command(flatten)]
        database: Box<DatabaseArguments>,
    },
    /// Print the SQL of the tables that methods need beside those of the register; its owner runs it.
    ///
    /// Methods with an `idempotency_key` need one that keeps which calls were carried out and what they were answered, so that a
    /// call that is repeated changes nothing twice: grant SELECT, INSERT and UPDATE on it to the account of the adapter. Rows may
    /// be deleted once nobody repeats their calls any more.
    ///
    /// Methods of kind "changes" whose `changes` names `of` and `key` need one with a row for each change, and the triggers that
    /// fill it: grant SELECT.
    Ddl {
        /// The configuration (TOML).
        config: PathBuf,
    },
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Answer calls from CSV fixtures, with no database.
    ///
    /// For each method a file METHOD.csv with a column for each request and reply field, values written as callers see them. A
    /// row answers the calls whose request fields are those of the row; an empty cell stands for any value, and in the reply
    /// for none. What a method writes is left out.
    Mock {
        /// The configuration (TOML).
        config: PathBuf,
        /// The folder with the fixtures.
        #[arg(long, value_name = "FOLDER")]
        fixtures: PathBuf,
        /// Once calls are taken, write the address here in one step: http://IP:PORT, https://NAME:PORT
        /// or unix:PATH.
        #[arg(long, value_name = "FILE")]
        address_file: Option<PathBuf>,
    },
    /// Answer calls until SIGINT or SIGTERM; calls in progress then have 10 seconds to end.
    ///
    /// SIGHUP has it read its configuration again: if all of it fits, it is served from then on; if not, or if it changes the
    /// published .proto or an address, the one before still is, and the log says why.
    /// Writes a log line for each call to standard error (RUST_LOG sets how much).
    Serve {
        /// The configuration (TOML).
        config: PathBuf,
        /// Once calls are taken, write the address here in one step: http://IP:PORT, https://NAME:PORT
        /// or unix:PATH.
        #[arg(long, value_name = "FILE")]
        address_file: Option<PathBuf>,
    },
}

/// The database, as `[database]` has it.
#[derive(Debug, clap::Args)]
pub(crate) struct DatabaseArguments {
    /// A file of SQLite.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["csv", "postgresql", "mariadb"],
          conflicts_with_all = ["csv", "postgresql", "mariadb", "socket", "host", "port", "ca", "user", "password_file"])]
    sqlite: Option<PathBuf>,
    /// A folder of CSV files, of which FILE.csv is the table FILE.
    #[arg(long, value_name = "FOLDER",
          conflicts_with_all = ["postgresql", "mariadb", "socket", "host", "port", "ca", "user", "password_file"])]
    csv: Option<PathBuf>,
    /// What stands between the fields of a CSV file; a comma if not given.
    #[arg(long, requires = "csv")]
    delimiter: Option<String>,
    /// A database of a PostgreSQL server.
    #[arg(
        long,
        value_name = "DATABASE",
        requires = "user",
        conflicts_with = "mariadb"
    )]
    postgresql: Option<String>,
    /// A database of a MariaDB server.
    #[arg(long, value_name = "DATABASE", requires = "user")]
    mariadb: Option<String>,
    /// The server's Unix socket; of PostgreSQL the folder of its sockets.
    #[arg(long, value_name = "PATH", conflicts_with = "host")]
    socket: Option<PathBuf>,
    /// The server's host.
    #[arg(long)]
    host: Option<String>,
    /// The server's port.
    #[arg(long)]
    port: Option<u16>,
    /// The certificates (PEM) by which a server on another machine is known.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The account, which should only be able to read.
    #[arg(long)]
    user: Option<String>,
    /// The file with its password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl DatabaseArguments {
    /// The lines of `[database]`; paths are absolute, since the configuration may lie in another folder.
    pub(crate) fn lines(&self) -> String {
        let path = |path: &PathBuf| {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            toml_text(&absolute.to_string_lossy())
        };
        if let Some(file) = &self.sqlite {
            return format!("sqlite = {}", path(file));
        }
        if let Some(folder) = &self.csv {
            let delimiter = self.delimiter.as_ref();
            let delimiter =
                delimiter.map(|written| format!(", delimiter = {}", toml_text(written)));
            let delimiter = delimiter.unwrap_or_default();
            return format!("csv = {{ folder = {}{delimiter} }}", path(folder));
        }
        let (engine, database) = match &self.postgresql {
            Some(database) => ("postgresql", Some(database)),
            None => ("mariadb", self.mariadb.as_ref()),
        };
        let keys = [
            self.socket
                .as_ref()
                .map(|socket| format!("socket = {}", path(socket))),
            self.host
                .as_ref()
                .map(|host| format!("host = {}", toml_text(host))),
            self.port.map(|port| format!("port = {port}")),
            self.ca.as_ref().map(|ca| format!("ca = {}", path(ca))),
            database.map(|database| format!("database = {}", toml_text(database))),
            self.user
                .as_ref()
                .map(|user| format!("user = {}", toml_text(user))),
            self.password_file
                .as_ref()
                .map(|file| format!("password_file = {}", path(file))),
        ];
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        format!("{engine} = {{ {} }}", keys.join(", "))
    }
}

/// As a string of TOML.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
