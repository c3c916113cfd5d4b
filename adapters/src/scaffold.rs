//! What `adapter new` writes: a first configuration of one table, with every column commented out but the one that is asked by.

use std::{collections::BTreeSet, fmt::Write as _, path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    configuration::Configuration,
    database::{Database, DatabaseError, TableColumn},
    engine::Engine,
    error::Error,
    field_type::FieldType,
    statement::Statement,
};

mod evidence;

use evidence::Evidence;

/// How many rows are looked at, and for how long.
const ROWS: usize = 200;
const TIME: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The table or view.
    pub table: String,
    /// The lines of `[database]` that name the database.
    pub database: String,
    /// The name of the service; one made of the table's name if not given.
    pub service: Option<String>,
}

/// A column on its way into the configuration.
struct Answer {
    column: TableColumn,
    field: String,
    field_type: FieldType,
    evidence: Evidence,
}

/// Looks at a table and writes the configuration for a file at this path; no value of the table is in it.
///
/// # Errors
/// When the database cannot be opened, or has no such table.
pub async fn first_configuration(path: &Path, wanted: &Wanted) -> Result<String, Error> {
    let service = wanted.service.clone();
    let service = service.unwrap_or_else(|| format!("vn.example.v1.{}", type_name(&wanted.table)));
    let head = head(&service, wanted);
    let probe = "\n[[methods]]\nname = \"Probe\"\nkind = \"unary\"\nsql = \"SELECT 1 AS one\"\n\
                 reply = [{ name = \"one\", type = \"integer\" }]\n";
    let configuration = parse(path, &format!("{head}{probe}"))?;
    let settings = &configuration.database;
    let failed = |error| settings.failed(error);
    let database = Database::open(settings).await.map_err(failed)?;
    let mut table = wanted.table.clone();
    let mut columns = database.columns(&table).await.map_err(failed)?;
    // PostgreSQL keeps names in small letters that were written without quotation marks.
    if columns.is_empty() {
        table = table.to_lowercase();
        columns = database.columns(&table).await.map_err(failed)?;
    }
    if columns.is_empty() {
        return Err(Error::NoTable {
            database: settings.source.to_string(),
            table: wanted.table.clone(),
        });
    }
    let engine = settings.source.engine();
    let sample = sample(&database, engine, &table, &columns)
        .await
        .map_err(failed)?;
    let text = format!(
        "{head}{}",
        method(engine, &table, answers(columns, &sample))
    );
    // What is written is a configuration that can be used as it is.
    parse(path, &text)?;
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Configuration, Error> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parsed = Configuration::parse(&absolute, text);
    parsed.map_err(|problems| {
        Error::Configuration(crate::configuration::ConfigurationError::Invalid {
            path: path.to_owned(),
            problems,
        })
    })
}

fn head(service: &str, wanted: &Wanted) -> String {
    format!(
        "# Written by `adapter new` from the table {}: a beginning, to be completed by you.\n\
         # Nothing is answered yet but the column that is asked by. Take the # and the -- from a column that callers may\n\
         # have and need, on its line of the SQL text and on its line of the reply; docs/adapters.md has every setting.\n\n\
         [service]\nname = {}\ndoc = \"\"\n\n\
         [listen]\naddress = \"127.0.0.1:0\"\n\n\
         [database]\n{}\n",
        wanted.table,
        toml::Value::String(service.to_owned()),
        wanted.database.trim_end()
    )
}

/// A few rows, column by column.
async fn sample(
    database: &Database,
    engine: Engine,
    table: &str,
    columns: &[TableColumn],
) -> Result<Vec<Evidence>, DatabaseError> {
    let mut evidence: Vec<_> = columns.iter().map(|_| Evidence::default()).collect();
    let selected: Vec<_> = columns
        .iter()
        .map(|column| selected(engine, column))
        .collect();
    let sql = format!(
        "SELECT {} FROM {} LIMIT {ROWS}",
        selected.join(", "),
        engine.quoted_table(table)
    );
    let statement = Statement::parse(&sql, &[], engine).map_err(|_| DatabaseError::Stopped {
        detail: "the table has a name that cannot be written in SQL",
    })?;
    let prepared = Arc::new(database.prepare(&statement).await?);
    let mut rows = database.query(&prepared, Vec::new(), Instant::now() + TIME, ());
    while let Some(row) = rows.next().await? {
        for (evidence, cell) in evidence.iter_mut().zip(&row) {
            evidence.look_at(cell);
        }
    }
    Ok(evidence)
}

fn answers(columns: Vec<TableColumn>, sample: &[Evidence]) -> Vec<Answer> {
    let mut used = BTreeSet::new();
    let mut answers = Vec::with_capacity(columns.len());
    for (column, evidence) in columns.into_iter().zip(sample) {
        let wished = field_name(&column.name);
        let mut field = wished.clone();
        let mut number = 2;
        while !used.insert(field.clone()) {
            field = format!("{wished}_{number}");
            number += 1;
        }
        answers.push(Answer {
            field_type: evidence.field_type(declared_type(&column.type_name)),
            evidence: evidence.clone(),
            column,
            field,
        });
    }
    answers
}

/// One method that finds one record.
fn method(engine: Engine, table: &str, answers: Vec<Answer>) -> String {
    let rank = |answer: &&Answer| {
        let column = &answer.column;
        let is_identifier = answer.evidence.is_personal_number() || is_named_like_one(&column.name);
        (
            column.is_unique && is_identifier,
            is_identifier && column.is_indexed,
            column.is_unique,
            column.is_indexed,
        )
    };
    // Of those that are equally good the first.
    let best = answers.iter().rev().max_by_key(rank);
    let Some(asked_by) = best else {
        return String::new();
    };
    let name = format!("Find{}", type_name(table));
    let key = engine.quoted(&asked_by.column.name);
    let parameter = &asked_by.field;
    let condition = match asked_by.field_type {
        FieldType::Text => format!("{key} IN (:{parameter})"),
        _ => format!("{key} = :{parameter}"),
    };
    let mut sql = format!("SELECT {}\n", selected(engine, &asked_by.column));
    let mut reply = format!("    {}\n", reply_field(asked_by));
    let mut notes = String::new();
    for answer in &answers {
        if let Some(note) = answer.note() {
            let _ = writeln!(notes, "#   {}: {note}", answer.column.name);
        }
        if answer.field == asked_by.field {
            continue;
        }
        let _ = writeln!(sql, "-- , {}", selected(engine, &answer.column));
        let _ = writeln!(reply, "#   {}", reply_field(answer));
    }
    let unique = match asked_by.column.is_unique {
        true => "",
        false => {
            "# No unique index was found on it: several records may match, and then none is answered.\n"
        }
    };
    let seen = if notes.is_empty() {
        ""
    } else {
        "# What was seen in the catalogue and in some rows:\n"
    };
    format!(
        "\n{seen}{notes}{unique}[[methods]]\nname = \"{name}\"\nkind = \"unary\"\n\
         sql = \"\"\"\n{sql}FROM {}\nWHERE {condition}\n\"\"\"\n\
         request = [{{ name = \"{parameter}\", type = \"{}\"{} }}]\nreply = [\n{reply}]\n",
        engine.quoted_table(table),
        asked_by.field_type.name(),
        asked_by.evidence.rules_of_request(engine),
    )
}

fn reply_field(answer: &Answer) -> String {
    let column = toml::Value::String(answer.column.name.clone());
    let rules = answer.evidence.rules();
    format!(
        "{{ name = \"{}\", column = {column}, type = \"{}\"{rules} }}, # {}",
        answer.field,
        answer.field_type.name(),
        answer.column.type_name.to_lowercase()
    )
}

impl Answer {
    /// What an integrator should know of the column.
    fn note(&self) -> Option<String> {
        let mut notes = Vec::new();
        if self.column.is_unique {
            notes.push("unique");
        } else if self.column.is_indexed {
            notes.push("has an index");
        }
        if self.evidence.is_personal_number() || is_named_like_one(&self.column.name) {
            notes.push("looks like the number of a person: name it as `subject`, and answer it only where it is needed");
        }
        notes.extend(self.evidence.notes());
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

/// Names that registers give to numbers of persons.
fn is_named_like_one(column: &str) -> bool {
    let name: String = column
        .to_lowercase()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    [
        "dinhdanh",
        "cccd",
        "cmnd",
        "cmt",
        "sogiayto",
        "personalid",
        "personnumber",
        "nationalid",
    ]
    .iter()
    .any(|known| name.contains(known))
}

/// The column as it is selected: what no field can hold is read as text.
fn selected(engine: Engine, column: &TableColumn) -> String {
    const READABLE: [&str; 17] = [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "numeric",
        "real",
        "double",
        "character",
        "text",
        "bytea",
        "date",
        "time",
        "timestamp",
        "uuid",
        "json",
        "jsonb",
        "name",
    ];
    let name = engine.quoted(&column.name);
    match engine {
        Engine::Postgresql
            if column.type_name.ends_with("[]")
                || !READABLE.contains(&word(&column.type_name).as_str()) =>
        {
            format!("CAST({name} AS text) AS {name}")
        }
        _ => name,
    }
}

/// The first word of a declared type, `numeric` of `NUMERIC(12,2)`.
fn word(type_name: &str) -> String {
    let word = type_name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .next();
    word.unwrap_or_default().to_ascii_lowercase()
}

/// The type that values of a declared type have, where nothing else is seen.
fn declared_type(type_name: &str) -> FieldType {
    match word(type_name).as_str() {
        "tinyint" if type_name.contains("(1)") => FieldType::Boolean,
        "bool" | "boolean" => FieldType::Boolean,
        "int" | "integer" | "bigint" | "smallint" | "mediumint" | "tinyint" | "year" | "bit" => {
            FieldType::Integer
        }
        "numeric" | "decimal" => {
            let is_whole = !type_name.contains(',') || type_name.ends_with(",0)");
            match is_whole && type_name.contains('(') {
                true => FieldType::Integer,
                false => FieldType::Text,
            }
        }
        "real" | "double" | "float" => FieldType::Double,
        "bytea" | "blob" | "binary" | "varbinary" | "longblob" | "mediumblob" | "tinyblob" => {
            FieldType::Bytes
        }
        "date" => FieldType::Date,
        _ => FieldType::Text,
    }
}

/// `HO_TEN` as `ho_ten`, `soDinhDanh` as `sodinhdanh`.
fn field_name(column: &str) -> String {
    let letters = column.chars().map(|letter| match letter {
        letter if letter.is_ascii_alphanumeric() => letter.to_ascii_lowercase(),
        _ => '_',
    });
    let name: String = letters.collect();
    let words: Vec<_> = name.split('_').filter(|word| !word.is_empty()).collect();
    let name: String = words.join("_").chars().take(60).collect();
    match name.starts_with(|first: char| first.is_ascii_lowercase()) {
        true => name,
        false => format!("column_{name}").trim_end_matches('_').to_owned(),
    }
}

/// `cong_dan` as `CongDan`.
fn type_name(table: &str) -> String {
    let table = table.rsplit('.').next().unwrap_or(table);
    let name = field_name(table);
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    name.split('_')
        .filter_map(capital)
        .collect::<String>()
        .chars()
        .take(50)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_fields_and_types() {
        for (column, field) in [
            ("HO_TEN", "ho_ten"),
            ("Số ĐT", "s_t"),
            ("  ", "column"),
            ("1st", "column_1st"),
            ("a__b_", "a_b"),
        ] {
            assert_eq!(field_name(column), field, "{column}");
        }
        assert_eq!(type_name("public.cong_dan"), "CongDan");
        assert_eq!(Engine::Postgresql.quoted("HO_TEN"), "\"HO_TEN\"");
        assert_eq!(Engine::MariaDb.quoted("HO_TEN"), "HO_TEN");
        assert_eq!(Engine::Sqlite.quoted("order"), "\"order\"");
        assert_eq!(Engine::Sqlite.quoted("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn declared_types_become_types_of_fields() {
        for (declared, expected) in [
            ("character varying(60)", FieldType::Text),
            ("NUMERIC(12)", FieldType::Integer),
            ("decimal(10,2)", FieldType::Text),
            ("int(11) unsigned", FieldType::Integer),
            ("tinyint(1)", FieldType::Boolean),
            ("double precision", FieldType::Double),
            ("DATE", FieldType::Date),
            ("timestamp with time zone", FieldType::Text),
            ("varbinary(60)", FieldType::Bytes),
            ("interval", FieldType::Text),
        ] {
            assert_eq!(declared_type(declared), expected, "{declared}");
        }
    }
}
