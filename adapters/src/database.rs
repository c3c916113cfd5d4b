//! The database of an adapter: statements prepared, rows as a stream, and transactions where methods write.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tokio::time::Instant;

use crate::{
    column::Meaning,
    configuration::{DatabaseSettings, RequestField, Source},
    engine::Engine,
    field_type::Cell,
    statement::{Bind, Form, Purpose, Statement},
};

mod csv_folder;
mod error;
mod mariadb;
mod pool;
mod postgresql;
mod rows;
mod sqlite;
mod transaction;

pub use error::DatabaseError;
pub use rows::Rows;
pub use transaction::Transaction;

use csv_folder::CsvFolder;
use mariadb::MariaDbDriver;
use pool::{Driver, Pool};
use postgresql::{ParameterType, PostgresqlDriver};
use sqlite::SqliteDriver;

/// A database and the connections that read it.
#[derive(Debug, Clone)]
pub struct Database(Connections);

#[derive(Debug, Clone)]
enum Connections {
    Sqlite(Arc<Pool<SqliteDriver>>),
    Postgresql(Arc<Pool<PostgresqlDriver>>),
    MariaDb(Arc<Pool<MariaDbDriver>>),
}

/// A statement that its database has prepared, and what it said of it.
#[derive(Debug)]
pub struct Prepared {
    text: Arc<str>,
    /// What its parameters are bound to, where they have no numbers.
    binds: Vec<Bind>,
    /// The types of its parameters, where the database tells them.
    types: Vec<ParameterType>,
    /// The names of its columns, in order.
    pub columns: Vec<String>,
    /// How many parameters it has.
    pub parameters: usize,
    /// Whether it would write.
    pub writes: bool,
    /// What else keeps it from being served, and what to do about it.
    pub faults: Vec<String>,
}

/// A column as the catalogue of the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// Its type in the database's own words.
    pub type_name: String,
    /// Whether no two rows have the same value in it.
    pub is_unique: bool,
    /// Whether an index begins with it.
    pub is_indexed: bool,
}

/// Does the same with each kind of database.
macro_rules! with_pool {
    ($database:expr, $pool:ident => $work:expr) => {
        match &$database.0 {
            Connections::Sqlite($pool) => $work,
            Connections::Postgresql($pool) => $work,
            Connections::MariaDb($pool) => $work,
        }
    };
}

impl Database {
    /// Opens the database for reading and proves that it can be read.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        Self::open_for(settings, Purpose::Reading).await
    }

    /// Opens the database for what its connections are for: those that read cannot write.
    pub async fn open_for(
        settings: &DatabaseSettings,
        purpose: Purpose,
    ) -> Result<Self, DatabaseError> {
        let (places, wait) = (settings.connections, settings.lock_timeout);
        let connections = match &settings.source {
            Source::Sqlite { path, memory_bytes } => {
                let driver = SqliteDriver::new(path.clone(), *memory_bytes, wait, purpose);
                Connections::Sqlite(Arc::new(Pool::new(driver, places)))
            }
            Source::Csv {
                folder,
                delimiter,
                indexes,
                memory_bytes,
            } => {
                let folder = CsvFolder::open(folder, *delimiter, indexes.clone()).await?;
                let driver = SqliteDriver::over_csv(folder, *memory_bytes, wait);
                Connections::Sqlite(Arc::new(Pool::new(driver, places)))
            }
            Source::Postgresql(server) => {
                let driver = PostgresqlDriver::new(server, wait, purpose)?;
                Connections::Postgresql(Arc::new(Pool::new(driver, places)))
            }
            Source::MariaDb(server) => {
                let driver = MariaDbDriver::new(server, wait, purpose)?;
                Connections::MariaDb(Arc::new(Pool::new(driver, places)))
            }
        };
        let database = Self(connections);
        database.probe().await?;
        Ok(database)
    }

    /// The same database with connections of its own: who waits for one of these never waits for one of the others.
    pub(crate) fn apart(&self, connections: usize) -> Self {
        Self(match &self.0 {
            Connections::Sqlite(pool) => Connections::Sqlite(Arc::new(pool.apart(connections))),
            Connections::Postgresql(pool) => {
                Connections::Postgresql(Arc::new(pool.apart(connections)))
            }
            Connections::MariaDb(pool) => Connections::MariaDb(Arc::new(pool.apart(connections))),
        })
    }

    /// Which kind of database it is.
    pub(crate) const fn engine(&self) -> Engine {
        match &self.0 {
            Connections::Sqlite(_) => Engine::Sqlite,
            Connections::Postgresql(_) => Engine::Postgresql,
            Connections::MariaDb(_) => Engine::MariaDb,
        }
    }

    /// Proves that the database answers now.
    pub async fn probe(&self) -> Result<(), DatabaseError> {
        // Whatever is asked begins with a sign of life.
        with_pool!(self, pool => pool.ask(async |_driver, _session| Ok(())).await)
    }

    /// What this account may do beyond reading, in words; none if it may only read.
    pub async fn may_write(&self) -> Result<Option<String>, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.may_write(session).await).await
        })
    }

    /// Whether no two rows of a table have the same values in these columns, as its indexes say.
    pub async fn is_unique(&self, table: &str, columns: &[String]) -> Result<bool, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.is_unique(session, table, columns).await).await
        })
    }

    /// Why numbers of a column do not rise in the order in which rows are inserted, and what to do; none if they do.
    pub async fn fault_of_numbers(
        &self,
        table: &str,
        column: &str,
    ) -> Result<Option<String>, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.fault_of_numbers(session, table, column).await).await
        })
    }

    /// How many triggers of these names a table has that fire; none if this account cannot see.
    pub async fn triggers(
        &self,
        table: &str,
        names: &[String],
    ) -> Result<Option<usize>, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.triggers(session, table, names).await).await
        })
    }

    /// The columns of a table; none if there is no such table.
    pub async fn columns(&self, table: &str) -> Result<Vec<TableColumn>, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.columns(session, table).await).await
        })
    }

    /// Prepares a statement without running it.
    pub async fn prepare(&self, statement: &Statement) -> Result<Prepared, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.prepare(session, statement).await).await
        })
    }

    /// How the database would look for the rows, step by step; MariaDB must have values to say so.
    pub async fn plan(
        &self,
        statement: &Prepared,
        values: Option<&[Cell]>,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        with_pool!(self, pool => {
            pool.ask(async |driver, session| driver.plan(session, statement, values).await).await
        })
    }

    /// Runs a statement until its last row, the deadline, or until the rows are dropped; until
    /// then it keeps the place of its call, whatever that is.
    pub fn query(
        &self,
        statement: &Arc<Prepared>,
        values: Vec<Cell>,
        deadline: Instant,
        admission: impl Send + 'static,
    ) -> Rows {
        let statement = Arc::clone(statement);
        with_pool!(self, pool => {
            Rows::of(Arc::clone(pool), statement, values, deadline, admission)
        })
    }
}

impl TableColumn {
    /// As the queries of the engines answer them.
    fn of_row((name, type_name, is_unique, is_indexed): (String, String, bool, bool)) -> Self {
        Self {
            name,
            type_name,
            is_unique,
            is_indexed,
        }
    }
}

impl Prepared {
    /// The first value that the type of its parameter cannot hold, and what it can.
    #[must_use]
    pub fn unbindable(&self, values: &[Cell]) -> Option<(usize, &'static str)> {
        let mut bound = self.binds.iter().zip(&self.types);
        bound.find_map(|(bind, of_type)| {
            let value = of_type.value(*bind, values);
            (!of_type.can_be(value)).then(|| (bind.value, of_type.expectation()))
        })
    }

    /// Why a value of a field cannot be bound, if the database says so of the parameter.
    pub fn misfit(&self, value: usize, field: &RequestField) -> Option<String> {
        let of_value = |bind: &Bind| bind.value == value && bind.form != Form::Presence;
        let parameter = self.types.get(self.binds.iter().position(of_value)?)?;
        let has_forms = field.rules.meaning != Meaning::Plain;
        let takes = match has_forms {
            true => parameter.takes_forms(),
            false => parameter.takes(field),
        };
        let (name, of_type) = (&field.name, parameter.name());
        let fault = || {
            format!(
                "the database compares :{name} with a value of type {of_type}, which a field of type {} cannot be; \
                 change the field's type, or convert the column in the SQL text",
                field.field_type.name()
            )
        };
        (!takes).then(fault)
    }
}

/// The certificates (PEM) by which a server is known.
fn read_authority(path: &Path) -> Result<Vec<u8>, DatabaseError> {
    std::fs::read(path).map_err(|error| DatabaseError::NotThere {
        detail: format!("ca {}: {error}", path.display()),
    })
}

/// Whether one of the unique indexes, given as pairs of index and column, is on some of these columns and no other.
fn covers(found: Vec<(String, Option<String>)>, columns: &[String]) -> bool {
    let mut indexes: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
    for (index, column) in found {
        indexes.entry(index).or_default().push(column);
    }
    let is_among = |column: &Option<String>| {
        let column = column.as_deref();
        columns
            .iter()
            .any(|wanted| column.is_some_and(|column| column.eq_ignore_ascii_case(wanted)))
    };
    indexes
        .values()
        .any(|of_index| of_index.iter().all(is_among))
}
