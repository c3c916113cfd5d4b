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

/// The column position of each reply field, in order.
pub(crate) async fn positions(method: &Method, database: &Database) -> Result<Vec<usize>, Unfit> {
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
        let mut found = described
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| **column == field.column)
            .map(|(position, _)| position);
        match (found.next(), found.next()) {
            (Some(position), None) => positions.push(position),
            (None, _) => faults.push(format!(
                "reply field {}: the SQL text has no column {:?}; it has {}",
                field.name,
                field.column,
                described.columns.join(", ")
            )),
            (Some(_), Some(_)) => faults.push(format!(
                "reply field {}: the SQL text has two columns {:?}; give them names with AS",
                field.name, field.column
            )),
        }
    }
    for column in &described.columns {
        if !method.reply.iter().any(|field| field.column == *column) {
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
