//! The fields of a method, and how their text is stored.

use std::collections::BTreeMap;

use prost_reflect::Value;
use toml::Spanned;

use super::{
    ReplyField, RequestField,
    file::{ReplyTable, RequestTable, TextTable},
    findings::Findings,
};
use crate::{
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
        (FieldType::Text, None) => otherwise,
        (_, None) => TextForm::default(),
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
        fields.push(RequestField {
            name,
            field_type,
            text,
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
        let column = table.column.unwrap_or_else(|| name.clone());
        findings.no_names(start, &place, table.field_type);
        let text = field_form(
            findings,
            &place,
            table.field_type,
            table.text.as_ref(),
            text,
        );
        fields.push(ReplyField {
            name,
            column,
            field_type: table.field_type,
            text,
            doc,
        });
    }
    fields
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
                let expectation = field.field_type.expectation(field.text.encoding);
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

fn sample_value(value: &toml::Value) -> Option<Value> {
    match value {
        toml::Value::String(text) => Some(Value::String(text.clone())),
        toml::Value::Integer(number) => Some(Value::I64(*number)),
        toml::Value::Float(number) => Some(Value::F64(*number)),
        toml::Value::Boolean(truth) => Some(Value::Bool(*truth)),
        _ => None,
    }
}
