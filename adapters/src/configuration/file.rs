//! The tables and keys of the TOML file, as written; unknown keys are refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::{MethodKind, Problem, WhenNone, grants::WrittenFilters};
use crate::{
    column::NamePart,
    encoding::{Capitals, Encoding, Undecodable},
    field_type::FieldType,
    folding::Ignoring,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) service: ServiceTable,
    pub(super) listen: Spanned<ListenTable>,
    pub(super) database: Spanned<DatabaseTable>,
    #[serde(default)]
    pub(super) tables: Vec<TextOfTable>,
    #[serde(default)]
    pub(super) limits: LimitsTable,
    #[serde(default)]
    pub(super) grants: Vec<GrantTable>,
    #[serde(default)]
    pub(super) methods: Vec<MethodTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceTable {
    pub(super) name: Spanned<String>,
    #[serde(default = "empty")]
    pub(super) doc: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenTable {
    pub(super) address: Option<Spanned<String>>,
    pub(super) unix: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) group_may_connect: bool,
    pub(super) tls: Option<TlsTable>,
    pub(super) monitoring: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsTable {
    pub(super) name: String,
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) callers: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseTable {
    pub(super) sqlite: Option<Spanned<String>>,
    pub(super) csv: Option<Spanned<CsvTable>>,
    pub(super) postgresql: Option<Spanned<ServerTable>>,
    pub(super) mariadb: Option<Spanned<ServerTable>>,
    pub(super) connections: Option<Spanned<u64>>,
    pub(super) lock_timeout: Option<Spanned<String>>,
    pub(super) memory_bytes: Option<Spanned<u64>>,
    pub(super) text: Option<Spanned<TextTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CsvTable {
    pub(super) folder: String,
    pub(super) delimiter: Option<String>,
    #[serde(default)]
    pub(super) indexes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerTable {
    pub(super) socket: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) ca: Option<String>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password_file: Option<String>,
    pub(super) password_variable: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextTable {
    pub(super) encoding: Encoding,
    pub(super) capitals: Option<Capitals>,
    #[serde(default)]
    pub(super) undecodable: Undecodable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextOfTable {
    pub(super) name: Spanned<String>,
    pub(super) text: Spanned<TextTable>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) request_bytes: Option<Spanned<u64>>,
    pub(super) reply_bytes: Option<Spanned<u64>>,
    pub(super) concurrent_calls: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrantTable {
    pub(super) name: Spanned<String>,
    pub(super) consumers: Option<Vec<String>>,
    pub(super) purposes: Option<Vec<String>>,
    pub(super) access_rights: Option<Vec<String>>,
    pub(super) methods: Option<Vec<Spanned<String>>>,
    pub(super) fields: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) filters: WrittenFilters,
    pub(super) max_rows: Option<Spanned<u64>>,
    pub(super) calls_per_minute: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MethodTable {
    pub(super) name: Spanned<String>,
    pub(super) kind: MethodKind,
    #[serde(default = "empty")]
    pub(super) doc: Spanned<String>,
    pub(super) sql: Spanned<String>,
    #[serde(default)]
    pub(super) steps: Vec<StepTable>,
    pub(super) idempotency_key: Option<Spanned<String>>,
    pub(super) natural_key: Option<Spanned<NaturalKeyTable>>,
    pub(super) changes: Option<Spanned<ChangesTable>>,
    pub(super) subject: Option<Spanned<OneOrMany>>,
    pub(super) text: Option<Spanned<TextTable>>,
    pub(super) when_none: Option<Spanned<WhenNone>>,
    pub(super) max_rows: Option<Spanned<u64>>,
    pub(super) rows_per_message: Option<Spanned<u64>>,
    pub(super) timeout: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) request: Vec<RequestTable>,
    #[serde(default)]
    pub(super) filters: Vec<RequestTable>,
    pub(super) reply: Vec<ReplyTable>,
    pub(super) sample: Option<BTreeMap<Spanned<String>, toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepTable {
    pub(super) name: Spanned<String>,
    pub(super) sql: Spanned<String>,
    pub(super) rows: Option<RowsOfStep>,
}

/// `1` or `"any"`.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged, expecting = "rows is a number or \"any\"")]
pub(super) enum RowsOfStep {
    Exactly(u64),
    Any(Any),
    /// As its kind of statement has it.
    #[serde(skip)]
    Usual,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Any {
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NaturalKeyTable {
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangesTable {
    pub(super) table: String,
    pub(super) number: String,
    pub(super) of: Option<String>,
    pub(super) key: Option<OneOrMany>,
}

/// `"X"` or `["X", "Y"]`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestTable {
    pub(super) name: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) field_type: FieldType,
    pub(super) text: Option<Spanned<TextTable>>,
    pub(super) digits: Option<u64>,
    pub(super) codes: Option<BTreeMap<String, String>>,
    pub(super) yes: Option<OneOrMany>,
    pub(super) no: Option<OneOrMany>,
    pub(super) format: Option<OneOrMany>,
    pub(super) padded_to: Option<u64>,
    pub(super) folded: Option<FoldedTable>,
    #[serde(default = "yes")]
    pub(super) required: bool,
    #[serde(default = "empty")]
    pub(super) doc: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FoldedTable {
    pub(super) reply: String,
    pub(super) ignoring: Ignoring,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyTable {
    pub(super) name: Spanned<String>,
    pub(super) column: Option<String>,
    pub(super) columns: Option<Vec<String>>,
    #[serde(rename = "type")]
    pub(super) field_type: FieldType,
    pub(super) text: Option<Spanned<TextTable>>,
    #[serde(default)]
    pub(super) trim: bool,
    pub(super) absent: Option<OneOrMany>,
    pub(super) digits: Option<u64>,
    pub(super) codes: Option<BTreeMap<String, String>>,
    pub(super) yes: Option<OneOrMany>,
    pub(super) no: Option<OneOrMany>,
    pub(super) format: Option<OneOrMany>,
    pub(super) part: Option<NamePart>,
    #[serde(default = "empty")]
    pub(super) doc: Spanned<String>,
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            vec![Problem {
                line: line(text, start),
                place: nearest_table(text, start),
                fault: error.message().trim().replace('\n', ", "),
            }]
        })
    }
}

/// The line, from 1, in which a byte of the file stands.
pub(super) fn line(text: &str, position: usize) -> usize {
    1 + text
        .bytes()
        .take(position)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// The table that a position is in, and for a method its name: what a reader looks for first.
fn nearest_table(text: &str, position: usize) -> String {
    let upto_line_end = text
        .get(position..)
        .and_then(|rest| rest.find('\n'))
        .map_or(text.len(), |end| position + end);
    let before = text.get(..upto_line_end).unwrap_or(text);
    let Some(header) = before
        .lines()
        .rev()
        .find(|line| line.trim_start().starts_with('['))
    else {
        return "the file".to_owned();
    };
    let method = header.trim().starts_with("[[methods]]").then(|| {
        let start = before.rfind(header).unwrap_or(0);
        let table = text.get(start + header.len()..).unwrap_or_default();
        table
            .lines()
            .take_while(|line| !line.starts_with('['))
            .find_map(|line| {
                line.trim()
                    .strip_prefix("name")?
                    .trim_start()
                    .strip_prefix('=')
            })
            .map(|name| name.trim().trim_matches('"').to_owned())
    });
    match method.flatten() {
        Some(name) => format!("method {name}"),
        None => header
            .split_inclusive(']')
            .next()
            .unwrap_or(header)
            .trim()
            .to_owned(),
    }
}

fn yes() -> bool {
    true
}

fn empty() -> Spanned<String> {
    Spanned::new(0..0, String::new())
}
