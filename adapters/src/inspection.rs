//! Whether the statements of a configuration and its database fit, found before anyone calls.

use std::{fmt, sync::Arc};

use crate::{
    configuration::{Configuration, Method},
    database::{Database, DatabaseError, Prepared},
    error::Error,
};

/// A method that does not fit its database, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The method.
    pub method: String,
    /// What is wrong and how it is put right.
    pub fault: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "method {}: {}", self.method, self.fault)
    }
}

/// Opens the database, with an account that may only read.
pub(crate) async fn open_for_reading(configuration: &Configuration) -> Result<Database, Error> {
    let settings = &configuration.database;
    let failed = |source| Error::Database {
        database: settings.source.to_string(),
        source,
    };
    let database = Database::open(settings).await.map_err(failed)?;
    match database.may_write().await.map_err(failed)? {
        None => Ok(database),
        Some(what) => Err(Error::MayWrite {
            database: settings.source.to_string(),
            what,
        }),
    }
}

/// A statement that fits its method.
pub(crate) struct Fit {
    /// As the database has prepared it.
    pub(crate) statement: Arc<Prepared>,
    /// The columns of each reply field, in order.
    pub(crate) positions: Vec<Vec<usize>>,
}

/// Why a statement does not fit.
pub(crate) enum Unfit {
    /// The statement and the fields do not fit.
    Faults(Vec<String>),
    /// The database cannot say.
    Database(DatabaseError),
}

/// Has the database prepare the statement of a method, and compares.
pub(crate) async fn fit(method: &Method, database: &Database) -> Result<Fit, Unfit> {
    let described = database
        .prepare(&method.statement)
        .await
        .map_err(|error| match error {
            DatabaseError::Statement { engine, detail, .. } => {
                Unfit::Faults(vec![format!("{engine} refuses the SQL text: {detail}")])
            }
            DatabaseError::Denied { detail } => Unfit::Faults(vec![format!(
                "the database does not let this account read what the SQL text asks for: {detail}"
            )]),
            other => Unfit::Database(other),
        })?;
    let mut faults = described.faults.clone();
    if described.writes {
        faults.push("the SQL text writes; an adapter only reads, write a SELECT".to_owned());
    }
    let mut first = 0;
    for (field, width) in method.request.iter().zip(&method.statement.widths) {
        faults.extend(described.misfit(first, field));
        first += width.count();
    }
    let mut positions = Vec::with_capacity(method.reply.len());
    for field in &method.reply {
        let mut of_field = Vec::with_capacity(field.columns.len());
        for column in &field.columns {
            match position(column, &described.columns) {
                Ok(position) => of_field.push(position),
                Err(fault) => faults.push(format!("reply field {}: {fault}", field.name)),
            }
        }
        positions.push(of_field);
    }
    for column in &described.columns {
        if !method
            .reply
            .iter()
            .any(|field| field.columns.contains(column))
        {
            faults.push(format!(
                "the SQL text selects {column:?}, which no reply field answers; leave it out"
            ));
        }
    }
    if faults.is_empty() {
        Ok(Fit {
            statement: Arc::new(described),
            positions,
        })
    } else {
        Err(Unfit::Faults(faults))
    }
}

/// Where the statement has a column.
fn position(column: &str, columns: &[String]) -> Result<usize, String> {
    let mut found = (0..).zip(columns).filter(|(_, name)| *name == column);
    match (found.next(), found.next()) {
        (Some((position, _)), None) => Ok(position),
        (None, _) => Err(format!(
            "the SQL text has no column {column:?}; it has {}",
            columns.join(", ")
        )),
        (Some(_), Some(_)) => Err(format!(
            "the SQL text has two columns {column:?}; give them names with AS"
        )),
    }
}
