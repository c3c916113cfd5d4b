//! The fields of a method, and how their text is stored.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::Value;
use toml::Spanned;

use super::{
    ReplyField, RequestField,
    file::{OneOrMany, ReplyTable, RequestTable, TextOfTable, TextTable},
    findings::Findings,
};
use crate::{
    column::{ColumnRules, Meaning, NamePart},
    date_format::DateFormat,
    encoding::TextForm,
    field_type::{Cell, FieldType},
    statement::Width,
};

/// What a table says of how text is stored, if there is one.
pub(super) fn text_form(
    findings: &mut Findings<'_>,
    place: &str,
    table: Option<&Spanned<TextTable>>,
) -> Option<TextForm> {
    let (start, table) = table.map(|table| (table.span().start, table.get_ref()))?;
    let encoding = table.encoding;
    if table.capitals.is_some() && !encoding.needs_capitals() {
        let fault = format!(
            "{} says itself which letters are capitals; remove it",
            encoding.name()
        );
        findings.add(start, &format!("{place} capitals"), fault);
    }
    Some(TextForm {
        encoding,
        capitals: table.capitals.unwrap_or_default(),
        undecodable: table.undecodable,
    })
}

/// How text is stored where a method says nothing of it.
pub(super) struct Stored<'a> {
    pub(super) of_database: TextForm,
    pub(super) of_tables: &'a [(String, TextForm)],
}

impl Stored<'_> {
    /// As the tables say that these SQL texts name, or the database; none if two of them say different things.
    pub(super) fn of<'a>(&self, sql: impl Iterator<Item = &'a str>) -> Option<TextForm> {
        let is_of_name = |letter: char| letter.is_alphanumeric() || "_$".contains(letter);
        let words = sql.flat_map(|text| text.split(move |letter| !is_of_name(letter)));
        let words: BTreeSet<_> = words.map(str::to_lowercase).collect();
        let named = self
            .of_tables
            .iter()
            .filter(|(table, _)| words.contains(table));
        let mut forms = named.map(|(_, form)| *form);
        let first = forms.next().unwrap_or(self.of_database);
        forms.all(|form| form == first).then_some(first)
    }
}

/// How the tables keep text that say so, by their names in small letters.
pub(super) fn texts_of_tables(
    findings: &mut Findings<'_>,
    tables: &[TextOfTable],
) -> Vec<(String, TextForm)> {
    let mut texts: Vec<(String, TextForm)> = Vec::new();
    for table in tables {
        let (start, name) = (table.name.span().start, table.name.get_ref().to_lowercase());
        let place = format!("table {}", table.name.get_ref());
        if texts.iter().any(|(known, _)| *known == name) {
            findings.add(
                start,
                &place,
                "the name is used twice; remove one".to_owned(),
            );
        }
        if let Some(form) = text_form(findings, &place, Some(&table.text)) {
            texts.push((name, form));
        }
    }
    texts
}

/// How the text of a field is stored: as the field says, or as its method or the database does.
fn field_form(
    findings: &mut Findings<'_>,
    place: &str,
    field_type: FieldType,
    table: Option<&Spanned<TextTable>>,
    otherwise: TextForm,
) -> TextForm {
    let own = text_form(findings, &format!("{place} text"), table);
    match (field_type, own) {
        (FieldType::Text, Some(own)) => own,
        // Also of what is no text: its forms of yes and no, for example.
        (_, None) => otherwise,
        (_, Some(_)) => {
            let start = table.map_or(0, |table| table.span().start);
            let fault = "only fields of type text have a `text`; remove it";
            findings.add(start, place, fault.to_owned());
            TextForm::default()
        }
    }
}

pub(super) fn request_fields(
    findings: &mut Findings<'_>,
    place: &str,
    tables: Vec<RequestTable>,
    text: TextForm,
) -> Vec<RequestField> {
    let mut fields: Vec<RequestField> = Vec::new();
    for table in tables {
        let start = table.name.span().start;
        let name = table.name.into_inner();
        let place = format!("{place}, request field {name}");
        let used = fields.iter().any(|field| field.name == name);
        findings.field_name(start, &place, &name, used);
        let doc = findings.doc(&place, table.doc);
        let (field_type, required) = (table.field_type, table.required);
        findings.no_names(start, &place, field_type);
        let text = field_form(findings, &place, field_type, table.text.as_ref(), text);
        if field_type == FieldType::PartialDate {
            let fault = "a partial date can be answered and not asked for; write date";
            findings.add(start, &place, fault.to_owned());
        }
        let written = WrittenMeaning {
            digits: table.digits,
            codes: table.codes,
            yes: table.yes,
            no: table.no,
            format: table.format,
            part: None,
        };
        let rules = ColumnRules {
            text,
            padded_to: table
                .padded_to
                .map(|width| usize::try_from(width.min(1000)).unwrap_or(0)),
            meaning: written.meaning(findings, start, &place, field_type),
            ..ColumnRules::default()
        };
        findings.forms(start, &place, &rules);
        let doc = with_sentence(doc, &rules.meaning);
        fields.push(RequestField {
            name,
            field_type,
            rules,
            required,
            doc,
        });
    }
    fields
}

pub(super) fn reply_fields(
    findings: &mut Findings<'_>,
    place: &str,
    start_of_method: usize,
    tables: Vec<ReplyTable>,
    text: TextForm,
) -> Vec<ReplyField> {
    if tables.is_empty() {
        let fault = "there is no reply field; name the columns to answer";
        findings.add(start_of_method, place, fault.to_owned());
    }
    let mut fields: Vec<ReplyField> = Vec::new();
    for table in tables {
        let start = table.name.span().start;
        let name = table.name.into_inner();
        let place = format!("{place}, reply field {name}");
        let used = fields.iter().any(|field| field.name == name);
        findings.field_name(start, &place, &name, used);
        let doc = findings.doc(&place, table.doc);
        let columns = match (table.column, table.columns) {
            (column, None) => vec![column.unwrap_or_else(|| name.clone())],
            (None, Some(columns)) if columns.len() > 1 && table.field_type == FieldType::Text => {
                columns
            }
            (_, Some(columns)) => {
                let fault = "`columns` joins two or more columns in a field of type text, and there is no \
                             `column` beside it";
                findings.add(start, &place, fault.to_owned());
                columns
            }
        };
        findings.no_names(start, &place, table.field_type);
        let text = field_form(
            findings,
            &place,
            table.field_type,
            table.text.as_ref(),
            text,
        );
        let written = WrittenMeaning {
            digits: table.digits,
            codes: table.codes,
            yes: table.yes,
            no: table.no,
            format: table.format,
            part: table.part,
        };
        let rules = ColumnRules {
            text,
            trim: table.trim,
            padded_to: None,
            absent: table.absent.map(OneOrMany::into_vec).unwrap_or_default(),
            meaning: written.meaning(findings, start, &place, table.field_type),
        };
        if columns.len() > 1 && !matches!(rules.meaning, Meaning::Plain | Meaning::Part(_)) {
            let fault = "joined columns are text, of which only a part can be taken";
            findings.add(start, &place, fault.to_owned());
        }
        findings.forms(start, &place, &rules);
        let doc = with_sentence(doc, &rules.meaning);
        fields.push(ReplyField {
            name,
            columns,
            field_type: table.field_type,
            rules,
            doc,
        });
    }
    fields
}

/// The comment of a field, and what it holds.
fn with_sentence(doc: String, meaning: &Meaning) -> String {
    match meaning.sentence() {
        Some(sentence) => format!("{doc}\n{sentence}"),
        None => doc,
    }
}

/// What a field says of the meaning of its column.
struct WrittenMeaning {
    digits: Option<u64>,
    codes: Option<BTreeMap<String, String>>,
    yes: Option<OneOrMany>,
    no: Option<OneOrMany>,
    format: Option<OneOrMany>,
    part: Option<NamePart>,
}

impl WrittenMeaning {
    fn meaning(
        self,
        findings: &mut Findings<'_>,
        start: usize,
        place: &str,
        field_type: FieldType,
    ) -> Meaning {
        let (yes, no) = (
            self.yes.map(OneOrMany::into_vec),
            self.no.map(OneOrMany::into_vec),
        );
        let formats = self.format.map(OneOrMany::into_vec);
        let mut meanings = Vec::new();
        if let Some(digits) = self.digits {
            let digits = usize::try_from(digits).unwrap_or(usize::MAX);
            let is_right = field_type == FieldType::Text && (1..=100).contains(&digits);
            meanings.push((is_right, Meaning::Digits(digits)));
        }
        if let Some(codes) = self.codes {
            let is_right = field_type == FieldType::Text && !codes.is_empty();
            meanings.push((is_right, Meaning::Codes(codes.into_iter().collect())));
        }
        if yes.is_some() || no.is_some() {
            let (yes, no) = (yes.unwrap_or_default(), no.unwrap_or_default());
            let are_apart =
                !yes.is_empty() && !no.is_empty() && !yes.iter().any(|form| no.contains(form));
            let is_right = field_type == FieldType::Boolean && are_apart;
            meanings.push((is_right, Meaning::YesNo(yes, no)));
        }
        if let Some(part) = self.part {
            meanings.push((field_type == FieldType::Text, Meaning::Part(part)));
        }
        if formats.is_some() || field_type == FieldType::PartialDate {
            let written = formats.unwrap_or_default();
            let formats: Vec<_> = written
                .iter()
                .filter_map(|one| DateFormat::parse(one))
                .collect();
            let are_right = !written.is_empty() && formats.len() == written.len();
            let is_right = are_right
                && match field_type {
                    FieldType::Date => formats.iter().all(DateFormat::is_whole),
                    FieldType::PartialDate => true,
                    _ => false,
                };
            meanings.push((is_right, Meaning::Dates(formats)));
        }
        match meanings.pop() {
            None => Meaning::Plain,
            Some((true, meaning)) if meanings.is_empty() => meaning,
            Some(_) => {
                let fault = "a field has one of: digits = 1 to 100, codes = { STORED = \"ANSWERED\" } or part \
                             (type text); yes and no, forms that differ (type boolean); format, with YYYY, \
                             MM or M, DD or D (type date: all three; a partial-date must have one)";
                findings.add(start, place, fault.to_owned());
                Meaning::Plain
            }
        }
    }
}

/// The sample's values as parameters; optional fields that it leaves out are bound as NULL.
pub(super) fn sample(
    findings: &mut Findings<'_>,
    place: &str,
    request: &[RequestField],
    widths: &[Width],
    mut written: BTreeMap<Spanned<String>, toml::Value>,
) -> Vec<Cell> {
    let mut cells = Vec::with_capacity(request.len());
    let start = written.keys().next().map_or(0, |key| key.span().start);
    // Without a statement there are no widths, and nobody binds the sample.
    let widths = widths.iter().copied().chain(std::iter::repeat(Width::One));
    for (field, width) in request.iter().zip(widths) {
        let place = format!("{place}, sample {}", field.name);
        let cell = match written.remove(field.name.as_str()) {
            None if field.required => {
                findings.add(
                    start,
                    &place,
                    "the field is required; give it a value".to_owned(),
                );
                None
            }
            None => None,
            Some(value) => {
                let expectation = field.rules.expectation(field.field_type);
                let value = sample_value(&value).ok_or(expectation);
                value
                    .and_then(|value| field.bind(&value, width))
                    .map_err(|expected| findings.add(start, &place, format!("write {expected}")))
                    .ok()
            }
        };
        cells.extend(cell.unwrap_or_else(|| width.fill(vec![Cell::Null])));
    }
    for key in written.keys() {
        let place = format!("{place}, sample {}", key.get_ref());
        findings.add(
            key.span().start,
            &place,
            "there is no such request field".to_owned(),
        );
    }
    cells
}

pub(super) fn sample_value(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::String(text) => Some(Value::String(text.clone())),
        toml::Value::Integer(number) => Some(Value::I64(*number)),
        toml::Value::Float(number) => Some(Value::F64(*number)),
        toml::Value::Boolean(truth) => Some(Value::Bool(*truth)),
        _ => None,
    }
}
