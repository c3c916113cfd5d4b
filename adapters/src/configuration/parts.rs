//! What a method is made of: its statements, its fields and what they mean, its limits.

use std::time::Duration;

use prost_reflect::Value;
use serde::{Deserialize, Serialize};

use super::{ChangeTable, FoldedField, Granted, OWN_FIELDS, Write};
use crate::{
    column::{ColumnRules, Meaning},
    encoding::Encoding,
    field_type::{Cell, FieldType},
    statement::{Field, Statement, Width},
};

/// One method: a SQL text with its parameters, answered by its columns.
#[derive(Debug, Clone)]
pub struct Method {
    /// `FindPerson`
    pub name: String,
    /// One reply, or a stream of rows.
    pub kind: MethodKind,
    /// The comment of the method in the `.proto`.
    pub doc: String,
    /// The SQL text of the answer.
    pub statement: Statement,
    /// What is written before; none if the method only reads.
    pub write: Option<Write>,
    /// Where its changes are kept; none if it is of another kind.
    pub changes: Option<ChangeTable>,
    /// The request and reply fields that identify persons.
    pub subjects: Vec<String>,
    /// The answer when no row matches.
    pub when_none: WhenNone,
    /// The most rows of one answer; for a unary method, how far several matches are counted.
    pub max_rows: u64,
    /// The most rows of one message, if it has many.
    pub rows_per_message: usize,
    /// The longest a call may take, its streamed reply included.
    pub timeout: Duration,
    /// The parameters.
    pub request: Vec<RequestField>,
    /// What the rows are compared with after they were read.
    pub folded: Vec<FoldedField>,
    /// What its statements bind besides, which no caller sets.
    pub filters: Vec<RequestField>,
    /// The values of the filters, as the statements bind them.
    pub filter_values: Vec<Cell>,
    /// What its statement binds of where a stream of changes stands, behind the filters.
    pub bounds: Vec<RequestField>,
    /// The columns that are answered.
    pub reply: Vec<ReplyField>,
    /// The names of reply fields that are withheld from these callers.
    pub withheld: Vec<String>,
    /// The method as each grant leaves it; nobody is answered otherwise.
    pub granted: Vec<Granted>,
    /// What each answer says of itself besides.
    pub notes: Vec<Note>,
    /// Parameters for `adapter check`, as the statement binds them.
    pub sample: Option<Vec<Cell>>,
}

/// How a method answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MethodKind {
    /// Exactly one record.
    Unary,
    /// A stream with a message for each row.
    ServerStreaming,
    /// A stream of messages with many rows each.
    Batches,
    /// The same with what has changed, which can be gone on with later.
    Changes,
}

/// The answer when no row matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenNone {
    /// The status NOT_FOUND.
    NotFound,
    /// An empty stream.
    Empty,
}

/// A parameter of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestField {
    /// The field's name and the parameter's: `:name`.
    pub name: String,
    /// Its type.
    pub field_type: FieldType,
    /// What is stored for it.
    pub rules: ColumnRules,
    /// Whether a call without it is refused; if not, NULL is bound.
    pub required: bool,
    /// The comment in the `.proto`.
    pub doc: String,
}

/// An answered column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyField {
    /// The field's name.
    pub name: String,
    /// The columns of the statement; several are joined by spaces.
    pub columns: Vec<String>,
    /// Its type.
    pub field_type: FieldType,
    /// What is stored for it.
    pub rules: ColumnRules,
    /// The comment in the `.proto`.
    pub doc: String,
}

/// What an answer says of itself, in a field that no column fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The names of its fields whose stored bytes could not all be understood.
    Undecodable,
    /// The names of its fields that this caller may not have for this purpose.
    Withheld,
}

impl Method {
    /// `FindPersonRequest`
    pub fn request_message(&self) -> String {
        format!("{}Request", self.name)
    }

    /// Values to try the statement with: those of the sample, or none at all where none is required.
    pub fn sample_values(&self) -> Option<Vec<Cell>> {
        let own = match &self.sample {
            Some(sample) => sample.clone(),
            None if self.request.iter().any(|field| field.required) => return None,
            None => {
                let others = self.filter_values.len() + self.bounds.len();
                vec![Cell::Null; self.statement.value_count() - others]
            }
        };
        let from_the_first = match self.bounds.is_empty() {
            true => Vec::new(),
            false => vec![Cell::Integer(0), Cell::Integer(i32::MAX.into())],
        };
        Some([own, self.filter_values.clone(), from_the_first].concat())
    }

    /// The method as it is answered: as each grant leaves it, or as it is.
    pub fn answered(&self) -> Vec<(Option<usize>, &Self)> {
        match self.granted.as_slice() {
            [] => vec![(None, self)],
            granted => granted
                .iter()
                .map(|granted| (Some(granted.grant), &granted.method))
                .collect(),
        }
    }

    /// Whether one of its SQL texts has this name.
    pub(super) fn names_in_sql(&self, name: &str) -> bool {
        let steps = self.write.iter().flat_map(|write| &write.steps);
        let steps = steps.map(|step| &step.statement);
        let mut words = steps.chain([&self.statement]).flat_map(Statement::words);
        words.any(|word| word.eq_ignore_ascii_case(name))
    }

    /// `FindPersonReply`
    pub fn reply_message(&self) -> String {
        format!("{}Reply", self.name)
    }

    /// The message with the fields of one record: the reply itself, or what a batch has many of.
    pub fn record_message(&self) -> String {
        match self.kind {
            MethodKind::Batches | MethodKind::Changes => format!("{}Record", self.name),
            MethodKind::Unary | MethodKind::ServerStreaming => self.reply_message(),
        }
    }

    /// The fields of the request message: name, type, whether it is required, and comment.
    pub fn request_fields(&self) -> impl Iterator<Item = (&str, FieldType, bool, &str)> {
        let own: &[_] = match self.kind {
            MethodKind::Changes => &OWN_FIELDS,
            _ => &[],
        };
        let own = own
            .iter()
            .map(|(name, of_type, doc)| (*name, *of_type, false, *doc));
        let fields = self.request.iter();
        let fields =
            fields.map(|field| (&*field.name, field.field_type, field.required, &*field.doc));
        let folded = self.folded.iter();
        let folded =
            folded.map(|field| (&*field.name, FieldType::Text, field.required, &*field.doc));
        fields.chain(folded).chain(own)
    }

    /// The fields of the reply message: name, type and comment.
    pub fn reply_fields(&self) -> impl Iterator<Item = (&str, FieldType, &str)> {
        let columns = self.reply.iter();
        let columns = columns.map(|field| (&*field.name, field.field_type, &*field.doc));
        let notes = self.notes.iter();
        columns.chain(notes.map(|note| (note.field(), FieldType::Names, note.doc())))
    }
}

impl RequestField {
    /// What its statement must know of it.
    pub fn in_statement(&self) -> Field<'_> {
        let meaning = &self.rules.meaning;
        let has_forms = matches!(meaning, Meaning::Codes(_) | Meaning::YesNo(..));
        let is_text = self.field_type == FieldType::Text || has_forms;
        let is_bytes = is_text && self.rules.text.encoding != Encoding::Utf8;
        let needs_all = has_forms || meaning.ways() > 1 || is_bytes;
        Field {
            name: &self.name,
            ways: self.rules.most_cells(self.field_type),
            needs_all,
            is_text,
            is_bytes,
            is_key: false,
        }
    }

    /// What the statement binds for a value that is present.
    ///
    /// # Errors
    /// What was expected instead, in words.
    pub fn bind(&self, value: &Value, width: Width) -> Result<Vec<Cell>, &'static str> {
        Ok(width.fill(self.rules.bind(self.field_type, value)?))
    }

    /// The same for a statement that stores it: first what is stored.
    ///
    /// # Errors
    /// What was expected instead, in words.
    pub fn bind_to_store(&self, value: &Value, width: Width) -> Result<Vec<Cell>, &'static str> {
        let stored = self.rules.store(self.field_type, value)?;
        let mut cells = self.bind(value, width)?;
        cells.retain(|cell| *cell != stored);
        cells.insert(0, stored);
        Ok(width.fill(cells))
    }
}

/// The field of a batch that holds its records.
pub const RECORDS: &str = "records";

impl Note {
    /// The name of the field.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable_fields",
            Self::Withheld => "withheld_fields",
        }
    }

    /// The comment of the field.
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Undecodable => {
                "Names of the fields of this record whose stored bytes could not all be understood; \
                 U+FFFD stands in their place."
            }
            Self::Withheld => {
                "Names of the fields that this caller is not granted for this purpose; they are absent, whatever the \
                 register has."
            }
        }
    }
}

impl MethodKind {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStreaming => "server-streaming",
            Self::Batches => "batches",
            Self::Changes => "changes",
        }
    }
}
