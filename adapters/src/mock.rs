//! A configuration whose methods are answered from CSV fixtures, one file for each, with no database behind them.

use std::path::{Path, PathBuf};

use crate::{
    column::{ColumnRules, Meaning},
    configuration::{Configuration, DatabaseSettings, Method, ReplyField, RequestField, Source},
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
    let conditions: Vec<_> = conditions.chain(["1".to_owned()]).collect();
    let sql = format!(
        "SELECT {} FROM \"{}\" WHERE {} ORDER BY rowid",
        selected.collect::<Vec<_>>().join(", "),
        method.name,
        conditions.join(" AND ")
    );
    method
        .request
        .iter_mut()
        .for_each(|field| field.rules = ColumnRules::default());
    method.reply.iter_mut().for_each(as_callers_see_it);
    method.filters.clear();
    method.filter_values.clear();
    method.write = None;
    method.sample = None;
    let fields: Vec<_> = method
        .request
        .iter()
        .map(RequestField::in_statement)
        .collect();
    let parsed = Statement::parse(&sql, &fields, Engine::Sqlite);
    method.statement = parsed.map_err(|fault| NoFixture::Statement {
        method: method.name.clone(),
        fault,
    })?;
    Ok(())
}

fn as_callers_see_it(field: &mut ReplyField) {
    field.columns = vec![field.name.clone()];
    field.rules = ColumnRules::default();
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
        FieldType::Integer => format!("CAST({present} AS INTEGER)"),
        FieldType::Double => format!("CAST({present} AS REAL)"),
        FieldType::Boolean => format!("CASE {column} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"),
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
