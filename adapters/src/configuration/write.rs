//! What a method writes before it answers, and how it is known that it did so already.

use toml::Spanned;

use super::{
    MethodKind, RequestField,
    file::{NaturalKeyTable, RowsOfStep, StepTable},
    findings::{Findings, is_field_name},
};
use crate::{field_type::FieldType, statement::Statement};

/// What a method writes, in one transaction.
#[derive(Debug, Clone)]
pub struct Write {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// How a call that is repeated is known.
    pub once: Once,
}

/// One statement of a method that writes.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its name, for callers and operators.
    pub name: String,
    /// The statement.
    pub statement: Statement,
    /// How many rows it must change; any number if not given.
    pub rows: Option<u64>,
}

/// How a call that is repeated is known, so that nothing is done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Once {
    /// By a request field; its value and the reply are kept with what is written.
    Key {
        /// The request field.
        field: String,
    },
    /// By what is written: the method's own SQL text finds it.
    NaturalKey {
        /// The table that is written.
        table: String,
        /// Its columns that no two rows have in common.
        columns: Vec<String>,
    },
}

/// What the file says of writing.
pub(super) struct Written<'a> {
    /// Where the method stands.
    pub(super) start: usize,
    pub(super) kind: MethodKind,
    pub(super) steps: &'a [StepTable],
    pub(super) idempotency_key: Option<&'a Spanned<String>>,
    pub(super) natural_key: Option<&'a Spanned<NaturalKeyTable>>,
}

/// The names, numbers of rows and key of a method that writes; the statements are parsed with its own.
#[derive(Clone)]
pub(super) struct Outline {
    pub(super) steps: Vec<(String, RowsOfStep)>,
    pub(super) once: Once,
}

impl Outline {
    /// With the statements of the steps.
    pub(super) fn with(self, statements: Vec<Statement>) -> Write {
        let steps = self.steps.into_iter().zip(statements);
        let step = |((name, rows), statement): ((String, RowsOfStep), Statement)| Step {
            name,
            rows: match rows {
                RowsOfStep::Exactly(rows) => Some(rows),
                // What a CALL says of rows means nothing.
                RowsOfStep::Usual if statement.first_word() != "CALL" => Some(1),
                RowsOfStep::Usual | RowsOfStep::Any(_) => None,
            },
            statement,
        };
        Write {
            steps: steps.map(step).collect(),
            once: self.once,
        }
    }
}

/// What a table says of writing; none if the method only reads.
pub(super) fn outline(
    findings: &mut Findings<'_>,
    place: &str,
    table: &Written<'_>,
    request: &[RequestField],
) -> Option<Outline> {
    let start = table.start;
    let mut fault = |start, fault: &str| findings.add(start, place, fault.to_owned());
    if table.steps.is_empty() {
        let key = table.idempotency_key.map(|key| key.span().start);
        if let Some(start) = key.or_else(|| table.natural_key.map(|key| key.span().start)) {
            let said = "a method that only reads needs no key; remove it, or write `steps`";
            fault(start, said);
        }
        return None;
    }
    if table.kind != MethodKind::Unary {
        fault(start, "a method that writes is unary");
    }
    let once = match (table.idempotency_key, table.natural_key) {
        (Some(key), None) => {
            let field = request.iter().find(|field| field.name == *key.get_ref());
            if field.is_none_or(|field| !field.required || field.field_type != FieldType::Text) {
                let said = "idempotency_key is no required request field of type text; name the one that is the same \
                            for all attempts at one thing, and for no other";
                fault(key.span().start, said);
            }
            Once::Key {
                field: key.get_ref().clone(),
            }
        }
        (None, Some(key)) => {
            if key.get_ref().columns.is_empty() {
                fault(key.span().start, "natural_key has no columns");
            }
            Once::NaturalKey {
                table: key.get_ref().table.clone(),
                columns: key.get_ref().columns.clone(),
            }
        }
        _ => {
            let said = "a method that writes must know a call that is repeated: give either `idempotency_key`, a request \
                        field, or `natural_key`";
            fault(start, said);
            return None;
        }
    };
    let mut steps: Vec<(String, RowsOfStep)> = Vec::new();
    for step in table.steps {
        let (start, name) = (step.name.span().start, step.name.get_ref());
        if !is_field_name(&name.replace('-', "_")) || steps.iter().any(|(known, _)| known == name) {
            let said = "each step has a name of its own, of small letters, digits and hyphens";
            findings.add(start, place, said.to_owned());
        }
        steps.push((name.clone(), step.rows.unwrap_or(RowsOfStep::Usual)));
    }
    Some(Outline { steps, once })
}

/// Why a natural key does not tell that a call is repeated. What is there already is answered as if it had been written now: so
/// nothing else may be left out, and it must be what this call asks for.
pub(super) fn fault_of_natural_key(
    write: &Write,
    answer: &Statement,
    request: &[RequestField],
) -> Option<String> {
    let Once::NaturalKey { .. } = write.once else {
        return None;
    };
    let mut steps = write.steps.iter();
    if steps.any(|step| step.statement.first_word() != "INSERT") {
        let fault = "natural_key is for steps that INSERT only: what is there already is answered, and other steps would be \
                     left out; use `idempotency_key`";
        return Some(fault.to_owned());
    }
    let mut fields = request.iter().enumerate();
    let (_, unused) = fields.find(|(position, _)| !answer.uses(*position))?;
    Some(format!(
        "natural_key: the method's sql does not compare :{0}, so that what another call wrote would be answered as if it \
         were this one's; add a condition on :{0}, or use `idempotency_key`",
        unused.name
    ))
}
