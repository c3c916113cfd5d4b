//! What the integrator wrote: the TOML file of one adapter, read, validated and typed.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{change_table, key_table};

mod changes;
mod database;
mod fields;
mod file;
mod findings;
mod folded;
mod grants;
mod method;
mod parts;
mod subjects;
mod validation;
mod write;

pub(crate) use changes::is_number;
pub use changes::{AFTER, ChangeTable, FOLLOW, OWN_FIELDS, POSITION, Watched};
pub use database::{DatabaseSettings, PasswordPlace, ServerAddress, ServerSettings, Source};
pub use folded::FoldedField;
pub use grants::{Grant, Granted};
pub use parts::{Method, MethodKind, Note, RECORDS, ReplyField, RequestField, WhenNone};
pub(crate) use validation::SUBJECT_MARK;
pub use write::{Once, Step, Write};

/// The configuration of one adapter: one service over one database.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The file it was read from.
    pub path: PathBuf,
    /// The gRPC service that is offered.
    pub service: ServiceName,
    /// The comment of the service in the `.proto`.
    pub doc: String,
    /// Where the adapter listens.
    pub listen: Listen,
    /// Where metrics, health and readiness are told over HTTP, if anywhere.
    pub monitoring: Option<SocketAddr>,
    /// The database that answers.
    pub database: DatabaseSettings,
    /// What one caller may cost.
    pub limits: Limits,
    /// Who may call, and what for; anyone whom the security server lets through if there are none.
    pub grants: Vec<Grant>,
    /// The methods, in the order of the file.
    pub methods: Vec<Method>,
}

/// A full gRPC service name, `package.Name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// `vn.population.v1`
    pub package: String,
    /// `Population`
    pub name: String,
}

/// Where the adapter listens: only this machine can reach it, or those whom it knows by their certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address, in plaintext; port 0 takes a free port.
    Tcp(SocketAddr),
    /// Any address, over mutual TLS.
    Tls {
        /// The address; port 0 takes a free port.
        address: SocketAddr,
        /// The name or address by which security servers reach it.
        name: String,
        /// The files (PEM) that it takes.
        files: TlsFiles,
    },
    /// A Unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Whether the group of the adapter may connect, and not only its user.
        group_may_connect: bool,
    },
}

/// What the listener for other machines needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, then those between it and the authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The certificates of the security servers that may call.
    pub callers: PathBuf,
}

/// What one caller may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request message.
    pub request_bytes: usize,
    /// The largest reply message.
    pub reply_bytes: usize,
    /// How many calls are admitted at once; more are refused.
    pub concurrent_calls: usize,
}

/// A configuration that cannot be used, with everything that is wrong in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}", listing(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong, where it stands and how it is put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1.
    pub line: usize,
    /// The method and field, or the table, that it is about.
    pub place: String,
    /// What is wrong and what to do.
    pub fault: String,
}

impl Configuration {
    /// Reads and validates a configuration; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let unreadable = |source| ConfigurationError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let text = std::fs::read_to_string(&absolute).map_err(unreadable)?;
        Self::parse(&absolute, &text).map_err(|problems| ConfigurationError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }

    /// Validates the text of a configuration that stands at an absolute path.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let file = file::File::parse(text)?;
        validation::validate(path, text, file)
    }

    /// Whether a method writes.
    pub fn writes(&self) -> bool {
        self.methods.iter().any(|method| method.write.is_some())
    }

    /// The SQL of the tables that its methods need beside those of the register.
    pub fn definitions(&self) -> Vec<String> {
        let engine = self.database.source.engine();
        let has_key = |method: &Method| {
            let once = method.write.as_ref().map(|write| &write.once);
            matches!(once, Some(Once::Key { .. }))
        };
        let keys = self.methods.iter().any(has_key);
        let keys = keys.then(|| key_table::definition(engine).to_owned());
        let tables: BTreeSet<_> = self
            .methods
            .iter()
            .filter_map(|method| method.changes.as_ref())
            .collect();
        let changes = tables.into_iter();
        let changes = changes.filter_map(|table| change_table::definition(engine, table));
        keys.into_iter().chain(changes).collect()
    }

    /// The lock file with the field numbers, beside the configuration.
    pub fn lock_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        name.into()
    }

    /// The file's own name, for texts that must not depend on where it lies.
    pub fn file_name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.package, self.name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}, {}: {}",
            self.line, self.place, self.fault
        )
    }
}

fn listing(path: &Path, problems: &[Problem]) -> String {
    let mut text = format!("{} cannot be used:", path.display());
    for problem in problems {
        text.push_str(&format!("\n  {problem}"));
    }
    text
}

#[cfg(test)]
mod tests;
