//! Request fields that rows are compared with after they were read, because no index knows when two names are the same.

use super::{Method, MethodKind, ReplyField, RequestField, file::RequestTable, findings::Findings};
use crate::{column::Meaning, field_type::FieldType, folding::Ignoring, statement::Statement};

/// A request field that is no parameter: of the rows that the statement finds, those are answered whose reply field is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoldedField {
    /// The request field.
    pub name: String,
    /// Whether a call without it is refused; if not, all rows are answered.
    pub required: bool,
    /// The comment in the `.proto`.
    pub doc: String,
    /// The reply field that it is compared with.
    pub reply: String,
    /// What they may differ in.
    pub ignoring: Ignoring,
}

/// Takes the folded ones out of the request fields, since they are no parameters.
pub(super) fn folded_fields(
    findings: &mut Findings<'_>,
    place: &str,
    request: &mut Vec<RequestTable>,
) -> Vec<FoldedField> {
    let is_folded = |field: &mut RequestTable| field.folded.is_some();
    let tables: Vec<_> = request.extract_if(.., is_folded).collect();
    let mut fields: Vec<FoldedField> = Vec::new();
    for table in tables {
        let start = table.name.span().start;
        let place = format!("{place}, request field {}", table.name.get_ref());
        let used = fields
            .iter()
            .any(|field| field.name == *table.name.get_ref());
        findings.field_name(start, &place, table.name.get_ref(), used);
        let has_rules = table.text.is_some()
            || table.digits.is_some()
            || table.codes.is_some()
            || table.padded_to.is_some();
        if table.field_type != FieldType::Text || has_rules {
            let fault = "a folded field is of type text and has no rules of its own: it is compared with what is answered";
            findings.add(start, &place, fault.to_owned());
        }
        let Some(folded) = table.folded else { continue };
        fields.push(FoldedField {
            name: table.name.into_inner(),
            required: table.required,
            doc: findings.doc(&place, table.doc),
            reply: folded.reply,
            ignoring: folded.ignoring,
        });
    }
    fields
}

/// What keeps rows from being compared, or from being few.
pub(super) fn fault_of_folded(
    folded: &[FoldedField],
    kind: MethodKind,
    (request, reply): (&[RequestField], &[ReplyField]),
    statement: &Statement,
) -> Option<String> {
    let first = folded.first()?;
    if kind == MethodKind::Changes {
        return Some("changes are not narrowed by folded fields; use a filter".to_owned());
    }
    let is_text = |name: &str| {
        reply.iter().any(|field| {
            field.name == name
                && field.field_type == FieldType::Text
                && !matches!(field.rules.meaning, Meaning::Codes(_))
        })
    };
    if let Some(field) = folded.iter().find(|field| !is_text(&field.reply)) {
        return Some(format!(
            "the request field {} is compared with {}, which is no reply field of type text",
            field.name, field.reply
        ));
    }
    if let Some(field) = folded
        .iter()
        .find(|field| request.iter().any(|other| other.name == field.name))
    {
        return Some(format!("the name {} is used twice; rename one", field.name));
    }
    let mut exact = request.iter().enumerate();
    let has_exact = exact.any(|(position, field)| field.required && statement.uses(position));
    (!has_exact).then(|| {
        format!(
            "the folded field {} needs a required request field beside it that the SQL text compares, for example the day of \
             birth: no index knows when two names are the same, and all rows would be read",
            first.name
        )
    })
}

/// The folded field that a grant leaves nothing to be compared with, if there is one.
pub(super) fn withheld<'a>(method: &'a Method, left: &[ReplyField]) -> Option<&'a FoldedField> {
    let is_left = |name: &str| left.iter().any(|field| field.name == name);
    method.folded.iter().find(|field| !is_left(&field.reply))
}
