//! A configuration whose methods are answered from CSV fixtures, one file for each, with no database behind them.

use std::path::{Path, PathBuf};

use crate::{
    column::{ColumnRules, Meaning},
    configuration::{
        ChangeTable, Configuration, DatabaseSettings, Method, ReplyField, RequestField, Source,
        is_number,
    },
    date_format::DateFormat,
    engine::Engine,
    field_type::FieldType,
    statement::{Statement, StatementFault},
};

/// A method cannot be answered from its fixtures.
#[derive(Debug, thiserror::Error)]
pub enum NoFixture {
    /// There is no file for it.
    #[error(
        "there is no {} for the method {method}; its first line is: {columns}", path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// The method.
        method: String,
        /// What its first line names.
        columns: String,
    },
    /// Its file lacks columns.
    #[error("{} lacks the columns {missing} of the method {method}", path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// The method.
        method: String,
        /// What its first line does not name.
        missing: String,
    },
    /// Its fields cannot be written in SQL.
    #[error("the method {method} cannot be answered from fixtures: {fault}")]
    Statement {
        /// The method.
        method: String,
        /// Why.
        fault: StatementFault,
    },
}

/// The same service over a folder of fixtures: `METHOD.csv` with a column for each request and reply field.
///
/// A row answers the calls whose request fields are those of the row; an empty one stands for any. Values are written as
/// callers see them, so that no rule of a column applies; an empty one is absent. What a method writes is left out.
///
/// # Errors
/// When a method has no fixtures.
pub fn over_fixtures(
    mut configuration: Configuration,
    fixtures: &Path,
) -> Result<Configuration, NoFixture> {
    configuration.database = DatabaseSettings {
        source: Source::Csv {
            folder: fixtures.to_owned(),
            delimiter: b',',
            indexes: Vec::new(),
            memory_bytes: 128 * 1024 * 1024,
        },
        ..configuration.database
    };
    for method in &mut configuration.methods {
        let path = fixtures.join(format!("{}.csv", method.name));
        if !path.is_file() {
            let columns = columns(method).join(",");
            let method = method.name.clone();
            return Err(NoFixture::Missing {
                path,
                method,
                columns,
            });
        }
        let missing = missing_columns(&path, &columns(method));
        if let Some(missing) = missing {
            let method = method.name.clone();
            return Err(NoFixture::Columns {
                path,
                method,
                missing,
            });
        }
        mock(method)?;
        for granted in &mut method.granted {
            mock(&mut granted.method)?;
        }
    }
    Ok(configuration)
}

/// The names of all fields, each once.
fn columns(method: &Method) -> Vec<&str> {
    let request = method.request.iter().map(|field| field.name.as_str());
    let mut names: Vec<_> = request.collect();
    for field in &method.reply {
        if !names.contains(&field.name.as_str()) {
            names.push(&field.name);
        }
    }
    names
}

/// What the first line of a file does not name; a file that cannot be read is told of when it is loaded.
fn missing_columns(path: &Path, wanted: &[&str]) -> Option<String> {
    let mut reader = csv::Reader::from_path(path).ok()?;
    let header = reader.headers().ok()?;
    let has = |name: &str| {
        header
            .iter()
            .any(|column| column.trim().trim_start_matches('\u{feff}') == name)
    };
    let missing: Vec<_> = wanted.iter().copied().filter(|name| !has(name)).collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

fn mock(method: &mut Method) -> Result<(), NoFixture> {
    let quoted = |name: &str| Engine::Sqlite.quoted(name);
    let selected = method.reply.iter().map(|field| {
        let name = quoted(&field.name);
        format!("{} AS {name}", value(&name, field.field_type))
    });
    let conditions = method.request.iter().map(|field| {
        let (name, parameter) = (quoted(&field.name), &field.name);
        format!(
            "(:{parameter} IS NULL OR {name} = '' OR {name} = {})",
            asked(parameter, field.field_type)
        )
    });
    let (conditions, order) = match number(method).map(|field| quoted(&field.name)) {
        None => (
            conditions.chain(["1".to_owned()]).collect(),
            "rowid".to_owned(),
        ),
        Some(number) => {
            let number = format!("CAST({number} AS INTEGER)");
            let bounds = format!("{number} > :after AND {number} <= :until");
            (conditions.chain([bounds]).collect::<Vec<_>>(), number)
        }
    };
    let sql = format!(
        "SELECT {} FROM \"{}\" WHERE {} ORDER BY {order}",
        selected.collect::<Vec<_>>().join(", "),
        method.name,
        conditions.join(" AND ")
    );
    method.changes = number(method).map(|field| {
        let (number, table) = (quoted(&field.name), &method.name);
        ChangeTable {
            table: table.clone(),
            stand_in: Some(format!(
                "(SELECT CAST({number} AS INTEGER) AS {number} FROM \"{table}\")"
            )),
            number: field.name.clone(),
            watched: None,
        }
    });
    method
        .request
        .iter_mut()
        .for_each(|field| field.rules = ColumnRules::default());
    method.reply.iter_mut().for_each(as_callers_see_it);
    method.filters.clear();
    method.filter_values.clear();
    method.write = None;
    method.sample = None;
    let fields = method.request.iter().chain(&method.bounds);
    let fields: Vec<_> = fields.map(RequestField::in_statement).collect();
    let parsed = Statement::parse(&sql, &fields, Engine::Sqlite);
    method.statement = parsed.map_err(|fault| NoFixture::Statement {
        method: method.name.clone(),
        fault,
    })?;
    Ok(())
}

/// The reply field with the number of a change, if these are its replies.
fn number(method: &Method) -> Option<&ReplyField> {
    let table = method.changes.as_ref()?;
    let mut fields = method.reply.iter();
    fields.find(|field| is_number(field, &table.number))
}

fn as_callers_see_it(field: &mut ReplyField) {
    field.columns = vec![field.name.clone()];
    let meaning = match std::mem::take(&mut field.rules.meaning) {
        // Only what callers may get.
        Meaning::Codes(codes) => Meaning::Codes(
            codes
                .into_iter()
                .map(|(_, answered)| (answered.clone(), answered))
                .collect(),
        ),
        digits @ Meaning::Digits(_) => digits,
        _ => Meaning::Plain,
    };
    field.rules = ColumnRules {
        meaning,
        ..ColumnRules::default()
    };
    if field.field_type == FieldType::PartialDate {
        let formats = ["YYYY-MM-DD", "YYYY-MM", "YYYY"];
        let formats = formats
            .iter()
            .filter_map(|format| DateFormat::parse(format));
        field.rules.meaning = Meaning::Dates(formats.collect());
    }
}

/// A column of text as a value of its type; an empty one is absent.
fn value(column: &str, field_type: FieldType) -> String {
    let present = format!("NULLIF({column}, '')");
    match field_type {
        // What is no such value stays text, and is refused by name.
        FieldType::Integer => format!(
            "CASE WHEN CAST(CAST({column} AS INTEGER) AS TEXT) = {column} THEN CAST({column} AS INTEGER) ELSE {present} END"
        ),
        FieldType::Double => format!(
            "CASE WHEN {column} GLOB '*[^0-9.eE+-]*' THEN {column} ELSE CAST({present} AS REAL) END"
        ),
        FieldType::Boolean => {
            format!("CASE {column} WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE {present} END")
        }
        FieldType::Bytes => format!("CAST({present} AS BLOB)"),
        FieldType::Text | FieldType::Date | FieldType::PartialDate | FieldType::Names => present,
    }
}

/// A request field as its fixture writes it.
fn asked(parameter: &str, field_type: FieldType) -> String {
    match field_type {
        FieldType::Text | FieldType::Date | FieldType::PartialDate | FieldType::Names => {
            format!(":{parameter}")
        }
        FieldType::Boolean => format!("CASE :{parameter} WHEN 1 THEN 'true' ELSE 'false' END"),
        FieldType::Integer | FieldType::Double | FieldType::Bytes => {
            format!("CAST(:{parameter} AS TEXT)")
        }
    }
}
