//! Whether the statements of a configuration and its database fit, found before anyone calls.

use std::{fmt, sync::Arc};

use crate::{
    change_table::{Numbers, triggers},
    configuration::{ChangeTable, Configuration, Method, Once, Write},
    database::{Database, DatabaseError, Prepared},
    engine::Engine,
    error::Error,
    field_type::Cell,
    key_table::{self, KeyTable},
    statement::{Purpose, Statement},
    writing::{ServedOnce, ServedStep, ServedWrite},
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
    let failed = |error| settings.failed(error);
    let database = Database::open(settings).await.map_err(failed)?;
    // One account for all methods: if some write, it may.
    if configuration.writes() {
        return Ok(database);
    }
    match database.may_write().await.map_err(failed)? {
        None => Ok(database),
        Some(what) => Err(Error::MayWrite {
            database: settings.source.to_string(),
            what,
        }),
    }
}

/// A method that fits its database.
pub(crate) struct Fit {
    /// As the database has prepared it.
    pub(crate) statement: Arc<Prepared>,
    /// The columns of each reply field, in order.
    pub(crate) positions: Vec<Vec<usize>>,
    /// What is written before; none if the method only reads.
    pub(crate) write: Option<ServedWrite>,
    /// The numbers of changes; none if the method is of another kind.
    pub(crate) numbers: Option<Numbers>,
}

/// Why a statement does not fit.
pub(crate) enum Unfit {
    /// The statement and the fields do not fit.
    Faults(Vec<String>),
    /// The database cannot say.
    Database(DatabaseError),
}

/// Has the database prepare the statements of a method, and compares.
pub(crate) async fn fit_method(
    method: &Method,
    database: &Database,
    writers: Option<&Database>,
) -> Result<Fit, Unfit> {
    let answer = fit_answer(method, database).await;
    let (Some(write), Some(writers)) = (&method.write, writers) else {
        return answer;
    };
    match (answer, fit_write(method, write, writers).await) {
        (Ok(fit), Ok(write)) => Ok(Fit {
            write: Some(write),
            ..fit
        }),
        (Err(Unfit::Faults(one)), Err(Unfit::Faults(other))) => {
            Err(Unfit::Faults([one, other].concat()))
        }
        (Err(unfit), _) | (_, Err(unfit)) => Err(unfit),
    }
}

async fn fit_answer(method: &Method, database: &Database) -> Result<Fit, Unfit> {
    let described = prepared(&method.statement, database).await?;
    let mut faults = described.faults.clone();
    if described.writes {
        faults.push("the SQL text writes; an adapter only reads, write a SELECT".to_owned());
    }
    faults.extend(misfits(method, &described));
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
    let numbers = match &method.changes {
        None => None,
        Some(table) => match fit_numbers(table, database).await {
            Ok(numbers) => Some(numbers),
            Err(Unfit::Faults(more)) => {
                faults.extend(more);
                None
            }
            Err(other) => return Err(other),
        },
    };
    if faults.is_empty() {
        Ok(Fit {
            statement: Arc::new(described),
            positions,
            write: None,
            numbers,
        })
    } else {
        Err(Unfit::Faults(faults))
    }
}

/// Proves that the numbers of changes tell their order.
async fn fit_numbers(changes: &ChangeTable, database: &Database) -> Result<Numbers, Unfit> {
    let numbers = Numbers::prepare(database, changes).await;
    let numbers = numbers.map_err(|error| unfit(error, "changes"))?;
    // Fixtures are numbered by hand, and nobody changes them meanwhile.
    if changes.stand_in.is_some() {
        return Ok(numbers);
    }
    let ChangeTable { table, number, .. } = changes;
    let fault = database.fault_of_numbers(table, number).await;
    let mut fault = fault.map_err(Unfit::Database)?;
    // In SQLite it is the key of the table.
    if fault.is_none() && database.engine() != Engine::Sqlite {
        let of_sql = database.engine().quoted_table(table);
        let is_unique = database
            .is_unique(&of_sql, std::slice::from_ref(number))
            .await;
        let is_unique = is_unique.map_err(Unfit::Database)?;
        fault = (!is_unique).then(|| format!("no unique index is on {table}.{number}"));
    }
    if let Some(watched) = &changes.watched {
        let names = triggers(database.engine(), changes);
        let found = database.triggers(&watched.table, &names).await;
        let found = found.map_err(Unfit::Database)?;
        if fault.is_none() && found.is_some_and(|found| found < names.len()) {
            let (of, names) = (&watched.table, names.join(", "));
            fault = Some(format!("{of} has not all of the triggers {names}"));
        }
    }
    match fault {
        None => Ok(numbers),
        Some(fault) => Err(Unfit::Faults(vec![format!(
            "changes: {fault}, so that one could be missed; `adapter ddl` prints a table that will do"
        )])),
    }
}

/// Opens the connections of the methods that write, if there are any; before those that read, since only who may write can
/// finish what was interrupted by a crash.
pub(crate) async fn open_for_writing(
    configuration: &Configuration,
) -> Result<Option<Database>, Error> {
    if !configuration.writes() {
        return Ok(None);
    }
    let settings = &configuration.database;
    let opened = Database::open_for(settings, Purpose::Writing).await;
    opened.map(Some).map_err(|error| settings.failed(error))
}

/// Has the database prepare what a method writes, and proves that a repeated call can be known.
pub(crate) async fn fit_write(
    method: &Method,
    write: &Write,
    database: &Database,
) -> Result<ServedWrite, Unfit> {
    let mut faults = Vec::new();
    let mut steps = Vec::with_capacity(write.steps.len());
    for step in &write.steps {
        match prepared(&step.statement, database).await {
            Ok(statement) => {
                faults.extend(of_step(&step.name, statement.faults.clone()));
                faults.extend(of_step(&step.name, misfits(method, &statement)));
                steps.push(ServedStep {
                    name: step.name.clone(),
                    statement,
                    rows: step.rows,
                });
            }
            Err(Unfit::Faults(more)) => faults.extend(of_step(&step.name, more)),
            Err(other) => return Err(other),
        }
    }
    let answer = prepared(&method.statement, database).await?;
    let once = match &write.once {
        Once::Key { .. } => match KeyTable::prepare(database).await {
            Ok(table) => {
                faults.extend(table.take.faults.clone());
                Some(ServedOnce::Key(Box::new(table)))
            }
            Err(DatabaseError::Statement { detail, .. } | DatabaseError::Denied { detail }) => {
                faults.push(format!(
                    "calls that are repeated are known by a table of the adapter's, which cannot be used ({detail}); let \
                     the owner of the database make it, and grant SELECT, INSERT and UPDATE on it:\n{}",
                    key_table::definition(database.engine())
                ));
                None
            }
            Err(other) => return Err(Unfit::Database(other)),
        },
        Once::NaturalKey { table, columns } => {
            if !database
                .is_unique(table, columns)
                .await
                .map_err(Unfit::Database)?
            {
                faults.push(format!(
                    "natural_key: the table {table} has no unique index on {}, so that a repeated call could write twice; \
                     let the owner make one, or use `idempotency_key`",
                    columns.join(", ")
                ));
            }
            Some(ServedOnce::NaturalKey)
        }
    };
    match once {
        Some(once) if faults.is_empty() => Ok(ServedWrite {
            database: database.clone(),
            calls: write
                .steps
                .iter()
                .any(|step| step.statement.first_word() == "CALL"),
            steps,
            answer: Arc::new(answer),
            once,
        }),
        _ => Err(Unfit::Faults(faults)),
    }
}

fn of_step(name: &str, faults: Vec<String>) -> impl Iterator<Item = String> {
    faults
        .into_iter()
        .map(move |fault| format!("step {name}: {fault}"))
}

/// A statement as the database has prepared it, or why it does not.
async fn prepared(statement: &Statement, database: &Database) -> Result<Prepared, Unfit> {
    let prepared = database.prepare(statement).await;
    prepared.map_err(|error| unfit(error, "the SQL text"))
}

/// Why a statement is not prepared.
fn unfit(error: DatabaseError, what: &str) -> Unfit {
    match error {
        DatabaseError::Statement { engine, detail, .. } => {
            Unfit::Faults(vec![format!("{engine} refuses {what}: {detail}")])
        }
        DatabaseError::Denied { detail } => Unfit::Faults(vec![format!(
            "the database does not let this account do what {what} asks for: {detail}"
        )]),
        other => Unfit::Database(other),
    }
}

/// Values of request fields that the database compares with another type.
fn misfits(method: &Method, statement: &Prepared) -> Vec<String> {
    let mut first = 0;
    let mut faults = Vec::new();
    let fields = method
        .request
        .iter()
        .chain(&method.filters)
        .chain(&method.bounds);
    for (field, width) in fields.zip(&method.statement.widths) {
        faults.extend(statement.misfit(first, field));
        first += width.count();
    }
    // No caller sets these, and so no caller can be told.
    let bounds = method.bounds.len();
    let own = method.statement.value_count() - method.filter_values.len() - bounds;
    let values = [vec![Cell::Null; own], method.filter_values.clone()].concat();
    if let Some((_value, expected)) = statement.unbindable(&values) {
        faults.push(format!(
            "a grant gives a filter a value that the database cannot compare; it must be {expected}"
        ));
    }
    faults
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
