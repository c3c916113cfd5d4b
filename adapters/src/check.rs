//! What `adapter check` finds out: statements that fit, and a sample that decodes.

use std::{collections::BTreeMap, fmt, time::Duration};

use tokio::time::Instant;

use crate::{
    configuration::{Configuration, Listen, Method, ReplyField, RequestField},
    database::{Database, DatabaseError},
    encoding::Undecodable,
    error::Error,
    field_type::{Cell, FieldType},
    inspection::{Fit, Misfit, Unfit, fit_method, open_for_reading, open_for_writing},
    tls_listener,
};

/// The most rows that a sample decodes.
const SAMPLE_ROWS: u64 = 100;

/// The longest that a sample may take, however long its method may.
const SAMPLE_TIME: Duration = Duration::from_secs(10);

/// What was found, method by method; counts and types only, never a value.
#[derive(Debug)]
pub struct Report {
    /// Each method that fits its database, in words.
    pub methods: Vec<MethodReport>,
    /// What must be put right before serving.
    pub misfits: Vec<Misfit>,
}

/// What was found about one method.
#[derive(Debug)]
pub struct MethodReport {
    /// The method.
    pub method: String,
    /// How many parameters its statement binds.
    pub parameters: usize,
    /// How many columns it answers.
    pub columns: usize,
    /// Whether nothing narrows what it answers: no required request field, no filter.
    pub answers_everything: bool,
    /// How the database looks for its rows, in its own words; none if it must have values to say so.
    pub plan: Option<Vec<String>>,
    /// The sample; absent if there are no parameters to run the statement with.
    pub sample: Option<Sample>,
}

/// What a sample held.
#[derive(Debug, Default)]
pub struct Sample {
    /// How many rows were read.
    pub rows: u64,
    /// For each reply field: how many values of which storage class.
    pub fields: Vec<(String, BTreeMap<&'static str, u64>)>,
    /// Bytes that mean nothing in the encoding of their field.
    pub undecodable: Vec<Stray>,
}

/// Bytes of one value that mean nothing in the encoding of their field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// The reply field.
    pub field: String,
    /// The column of the statement.
    pub column: String,
    /// The row of the sample, from 1.
    pub row: u64,
    /// Where in the value the first of them stands, from 0.
    pub position: usize,
    /// The first of them.
    pub byte: u8,
    /// How many there are in the value.
    pub count: usize,
}

impl fmt::Display for Stray {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field, column, row, ..
        } = self;
        let (byte, position, count) = (self.byte, self.position, self.count);
        write!(
            formatter,
            "reply field {field}: row {row}, column {column}: the byte {byte:#04x} at {position} means \
             nothing in the declared encoding ({count} in this value)"
        )
    }
}

/// Opens the database and tries every method.
pub async fn check(configuration: &Configuration) -> Result<Report, Error> {
    if let Listen::Tls { name, files, .. } = &configuration.listen {
        tls_listener::read(name, files)?;
    }
    let failed = |error| configuration.database.failed(error);
    let writers = open_for_writing(configuration).await?;
    let database = open_for_reading(configuration).await?;
    let mut report = Report {
        methods: Vec::new(),
        misfits: Vec::new(),
    };
    let methods = configuration.methods.iter().flat_map(Method::answered);
    for (grant, method) in methods {
        let grant = grant.and_then(|grant| configuration.grants.get(grant));
        let name = match grant {
            Some(grant) => format!("{} (grant {})", method.name, grant.name),
            None => method.name.clone(),
        };
        let mut misfit = |fault| {
            let method = name.clone();
            report.misfits.push(Misfit { method, fault });
        };
        let fit = match fit_method(method, &database, writers.as_ref()).await {
            Ok(fit) => fit,
            Err(Unfit::Database(error)) => return Err(failed(error)),
            Err(Unfit::Faults(faults)) => {
                faults.into_iter().for_each(misfit);
                continue;
            }
        };
        let values = method.sample_values();
        let plan = database.plan(&fit.statement, values.as_deref()).await;
        let plan = plan.map_err(failed)?;
        let sample = match take_sample(&database, method, &fit, values).await {
            Ok(taken) => taken,
            Err(NoSample::Fault(fault)) => {
                misfit(fault);
                continue;
            }
            Err(NoSample::Database(error)) => {
                misfit(format!("the sample cannot be read: {error}"));
                continue;
            }
        };
        let is_narrow = |field: &RequestField| field.required;
        report.methods.push(MethodReport {
            method: name,
            parameters: method.request.len(),
            columns: method.reply.len(),
            answers_everything: !method.request.iter().any(is_narrow) && method.filters.is_empty(),
            plan,
            sample,
        });
    }
    Ok(report)
}

enum NoSample {
    Fault(String),
    Database(DatabaseError),
}

async fn take_sample(
    database: &Database,
    method: &Method,
    fit: &Fit,
    values: Option<Vec<Cell>>,
) -> Result<Option<Sample>, NoSample> {
    let Some(parameters) = values else {
        return Ok(None);
    };
    let deadline = Instant::now() + method.timeout.min(SAMPLE_TIME);
    let mut rows = database.query(&fit.statement, parameters, deadline, ());
    let mut sample = Sample {
        rows: 0,
        fields: method
            .reply
            .iter()
            .map(|field| (field.name.clone(), BTreeMap::new()))
            .collect(),
        undecodable: Vec::new(),
    };
    while sample.rows < SAMPLE_ROWS {
        let Some(row) = rows.next().await.map_err(NoSample::Database)? else {
            break;
        };
        sample.rows += 1;
        for ((field, positions), (_, counts)) in method
            .reply
            .iter()
            .zip(&fit.positions)
            .zip(&mut sample.fields)
        {
            let cell = |position: &usize| row.get(*position).cloned().unwrap_or(Cell::Null);
            let cells: Vec<_> = positions.iter().map(cell).collect();
            let columns = field.columns.iter().zip(&cells);
            let strays =
                columns.filter_map(|(column, cell)| stray(field, column, cell, sample.rows));
            let strays: Vec<_> = strays.collect();
            for cell in &cells {
                *counts.entry(cell.storage()).or_default() += 1;
            }
            if !strays.is_empty() {
                sample.undecodable.extend(strays);
                continue;
            }
            field.rules.read(field.field_type, &cells).map_err(|mismatch| {
                NoSample::Fault(format!(
                    "reply field {}: row {} of the sample holds {} where {} is declared; correct \
                     the type, or convert the column in the SQL text",
                    field.name, sample.rows, mismatch.found, mismatch.expected
                ))
            })?;
        }
    }
    let is_strict = |stray: &&Stray| {
        let mut fields = method.reply.iter();
        fields.any(|field| {
            field.name == stray.field && field.rules.text.undecodable == Undecodable::Strict
        })
    };
    match sample.undecodable.iter().find(is_strict) {
        None => Ok(Some(sample)),
        Some(stray) => Err(NoSample::Fault(format!(
            "{stray}; correct the encoding, or declare undecodable = \"report\" or \"replace\""
        ))),
    }
}

fn stray(field: &ReplyField, column: &str, cell: &Cell, row: u64) -> Option<Stray> {
    let (Cell::Text(bytes) | Cell::Blob(bytes)) = cell else {
        return None;
    };
    if field.field_type != FieldType::Text {
        return None;
    }
    let decoded = field.rules.text.decode(bytes);
    let position = decoded.first_undecodable?;
    Some(Stray {
        field: field.name.clone(),
        column: column.to_owned(),
        row,
        position,
        byte: bytes.get(position).copied()?,
        count: decoded.undecodable,
    })
}
