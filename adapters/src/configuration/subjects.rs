//! Which fields of a method identify persons: stated in the `.proto`, for the records of the bus.

use toml::Spanned;

use super::{ReplyField, RequestField, file::OneOrMany, findings::Findings};
use crate::field_type::FieldType;

/// The names of the fields.
pub(super) fn subjects(
    findings: &mut Findings<'_>,
    place: &str,
    written: Option<Spanned<OneOrMany>>,
    request: &[RequestField],
    reply: &[ReplyField],
) -> Vec<String> {
    let Some(written) = written else {
        return Vec::new();
    };
    let start = written.span().start;
    let asked = request.iter().map(|field| (&field.name, field.field_type));
    let answered = reply.iter().map(|field| (&field.name, field.field_type));
    let fields: Vec<_> = asked.chain(answered).collect();
    let subjects = written.into_inner().into_vec();
    for subject in &subjects {
        if let Some(fault) = fault_of(subject, &fields) {
            findings.add(start, place, fault);
        }
    }
    subjects
}

fn fault_of(subject: &str, fields: &[(&String, FieldType)]) -> Option<String> {
    let named = fields.iter().filter(|(name, _)| *name == subject);
    let types: Vec<FieldType> = named.map(|(_, field_type)| *field_type).collect();
    if types.is_empty() {
        return Some(format!(
            "subject {subject:?} is no field of the request or the reply; name the fields that \
             identify a person"
        ));
    }
    let identifies = |of: &FieldType| matches!(of, FieldType::Text | FieldType::Integer);
    let all = types.iter().all(identifies);
    (!all).then(|| format!("subject {subject:?} identifies nobody: it is neither text nor integer"))
}
