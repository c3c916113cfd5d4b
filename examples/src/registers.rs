//! Legacy registers with believable content, and the adapters that make services of them.
//!
//! Each register is a schema and an adapter's configuration in `examples/registers/`; what is here fills its
//! database with synthetic people.

pub mod adapter;
pub mod civil_status;
pub mod insurance;
pub mod legacy_text;
mod names;
pub mod people;
pub mod population;
pub mod provinces;
pub mod servers;
pub mod units;

use std::{
    fs,
    path::{Path, PathBuf},
};

use tokio::process::Command;

pub use adapter::Adapter;
use servers::ServerDatabase;

use crate::{
    Error,
    process::{finish, program},
};

/// A register in a database of a server.
pub struct Register {
    /// Its database.
    pub database: ServerDatabase,
    /// The file of its adapter's configuration.
    pub configuration: PathBuf,
}

/// Writes the configuration of an adapter whose database is named so.
fn configure(
    directory: &Path,
    name: &str,
    configuration: &str,
    database: &str,
) -> Result<PathBuf, Error> {
    let file = directory.join(format!("{name}.toml"));
    fs::write(
        &file,
        configuration.replace("\nDATABASE\n", &format!("\n{database}\n")),
    )?;
    Ok(file)
}

/// What the owner of a database adds to it for the adapter, as `adapter ddl` prints it.
async fn ddl(configuration: &Path) -> Result<String, Error> {
    let mut print = Command::new(program("adapter")?);
    print.arg("ddl").arg(configuration);
    Ok(String::from_utf8(finish(print).await?.stdout)?)
}
