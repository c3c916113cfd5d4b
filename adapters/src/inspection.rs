//! Whether the statements of a configuration and its database fit, found before anyone calls.

use std::fmt;

use crate::{
    configuration::{Configuration, Method},
    sqlite::{Database, DatabaseError},
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

/// Prepares every statement; the errors are those of the database itself.
pub async fn inspect(
    configuration: &Configuration,
    database: &Database,
) -> Result<Vec<Misfit>, DatabaseError> {
    let mut misfits = Vec::new();
    for method in &configuration.methods {
        let faults = match positions(method, database).await {
            Ok(_fits) => Vec::new(),
            Err(Unfit::Faults(faults)) => faults,
            Err(Unfit::Database(error)) => return Err(error),
        };
        misfits.extend(faults.into_iter().map(|fault| Misfit {
            method: method.name.clone(),
            fault,
        }));
    }
    Ok(misfits)
}

/// Why a statement has no positions.
pub(crate) enum Unfit {
    /// The statement and the fields do not fit.
    Faults(Vec<String>),
    /// The database cannot say.
    Database(DatabaseError),
}

/// The column positions of each reply field, in order.
pub(crate) async fn positions(
    method: &Method,
    database: &Database,
) -> Result<Vec<Vec<usize>>, Unfit> {
    let described = database
        .describe(&method.statement)
        .await
        .map_err(|error| match error {
            DatabaseError::Statement { detail, .. } => {
                Unfit::Faults(vec![format!("SQLite refuses the SQL text: {detail}")])
            }
            other => Unfit::Database(other),
        })?;
    let mut faults = Vec::new();
    if described.writes {
        faults.push("the SQL text writes; an adapter only reads, write a SELECT".to_owned());
    }
    if described.parameters > method.statement.parameter_count() {
        faults.push("the SQL text has parameters that are no request fields".to_owned());
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
        Ok(positions)
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
