//! Why an adapter does not start or a command does not succeed.

use std::{io, path::PathBuf};

use crate::{
    configuration::ConfigurationError, database::DatabaseError, inspection::Misfit,
    lock::LockError, mock::NoFixture, registration::NoAddress, schema::SchemaError,
};

/// The errors of this crate; each says what happened and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The lock file.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The `.proto`.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The database, as a whole.
    #[error("{database}")]
    Database {
        /// Which one.
        database: String,
        /// What is wrong with it.
        source: DatabaseError,
    },
    /// There are no fixtures for a method.
    #[error(transparent)]
    NoFixture(#[from] NoFixture),
    /// There is no such table.
    #[error(
        "{database} has no table or view {table} that this account may see; see its name, and in PostgreSQL its schema"
    )]
    NoTable {
        /// Which database.
        database: String,
        /// The table.
        table: String,
    },
    /// The account may do more than its methods.
    #[error(
        "{database}: the account of the adapter {what}, and its methods only read; give it an account that may \
         read and nothing else (GRANT SELECT), so that no mistake can change the register"
    )]
    MayWrite {
        /// Which database.
        database: String,
        /// What it may do.
        what: String,
    },
    /// Statements that do not fit the database.
    #[error("the configuration does not fit the database:{}", listing(.0))]
    Misfits(Vec<Misfit>),
    /// The address cannot be registered.
    #[error(transparent)]
    NoAddress(#[from] NoAddress),
    /// A certificate or key cannot be used.
    #[error(transparent)]
    Certificate(#[from] certs::FileError),
    /// The certificate is not for the name that the adapter is called by.
    #[error(
        "{} is for {names}, and not for the name {name} by which security servers are to call this adapter",
        certificate.display()
    )]
    NotNamed {
        /// The certificate.
        certificate: PathBuf,
        /// The name in the configuration.
        name: String,
        /// Those in the certificate.
        names: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; see that nothing else does, and that it may be used here")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A configuration that only a restart can bring.
    #[error(
        "the new configuration changes {0}: stop the adapter and start it again; until then it serves as before"
    )]
    NotReloaded(&'static str),
    /// The server ended on its own.
    #[error("the server stopped")]
    Serve(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn listing(misfits: &[Misfit]) -> String {
    misfits
        .iter()
        .map(|misfit| format!("\n  {misfit}"))
        .collect()
}
