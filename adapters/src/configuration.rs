//! What the integrator wrote: the TOML file of one adapter, read, validated and typed.

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use prost_reflect::Value;
use serde::{Deserialize, Serialize};

use crate::{
    change_table,
    column::{ColumnRules, Meaning},
    encoding::Encoding,
    field_type::{Cell, FieldType},
    key_table,
    statement::{Field, Statement, Width},
};

mod changes;
mod database;
mod fields;
mod file;
mod findings;
mod folded;
mod grants;
mod method;
mod validation;
mod write;

pub(crate) use changes::is_number;
pub use changes::{AFTER, ChangeTable, FOLLOW, OWN_FIELDS, POSITION, Watched};
pub use database::{DatabaseSettings, PasswordPlace, ServerAddress, ServerSettings, Source};
pub use folded::FoldedField;
pub use grants::{Grant, Granted};
pub(crate) use validation::SUBJECT_MARK;
pub use write::{Once, Step, Write};

/// The configuration of one adapter: one service over one database.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The file it was read from.
    pub path: PathBuf,
    /// The gRPC service that is offered.
    pub service: ServiceName,
    /// The comment of the service in the `.proto`.
    pub doc: String,
    /// Where the adapter listens.
    pub listen: Listen,
    /// Where metrics, health and readiness are told over HTTP, if anywhere.
    pub monitoring: Option<SocketAddr>,
    /// The database that answers.
    pub database: DatabaseSettings,
    /// What one caller may cost.
    pub limits: Limits,
    /// Who may call, and what for; anyone whom the security server lets through if there are none.
    pub grants: Vec<Grant>,
    /// The methods, in the order of the file.
    pub methods: Vec<Method>,
}

/// A full gRPC service name, `package.Name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// `vn.population.v1`
    pub package: String,
    /// `Population`
    pub name: String,
}

/// Where the adapter listens: only this machine can reach it, or those whom it knows by their certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address, in plaintext; port 0 takes a free port.
    Tcp(SocketAddr),
    /// Any address, over mutual TLS.
    Tls {
        /// The address; port 0 takes a free port.
        address: SocketAddr,
        /// The name or address by which security servers reach it.
        name: String,
        /// The files (PEM) that it takes.
        files: TlsFiles,
    },
    /// A Unix socket.
    Unix {
        /// The socket.
        path: PathBuf,
        /// Whether the group of the adapter may connect, and not only its user.
        group_may_connect: bool,
    },
}

/// What the listener for other machines needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, then those between it and the authority.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
    /// The certificates of the security servers that may call.
    pub callers: PathBuf,
}

/// What one caller may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest request message.
    pub request_bytes: usize,
    /// The largest reply message.
    pub reply_bytes: usize,
    /// How many calls are admitted at once; more are refused.
    pub concurrent_calls: usize,
}

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
    /// The request field that identifies the person whose record is read.
    pub subject: Option<String>,
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

/// A configuration that cannot be used, with everything that is wrong in it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that cannot be.
    #[error("{}", listing(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the order of the file.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong, where it stands and how it is put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1.
    pub line: usize,
    /// The method and field, or the table, that it is about.
    pub place: String,
    /// What is wrong and what to do.
    pub fault: String,
}

impl Configuration {
    /// Reads and validates a configuration; paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigurationError> {
        let unreadable = |source| ConfigurationError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let text = std::fs::read_to_string(&absolute).map_err(unreadable)?;
        Self::parse(&absolute, &text).map_err(|problems| ConfigurationError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }

    /// Validates the text of a configuration that stands at an absolute path.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let file = file::File::parse(text)?;
        validation::validate(path, text, file)
    }

    /// Whether a method writes.
    pub fn writes(&self) -> bool {
        self.methods.iter().any(|method| method.write.is_some())
    }

    /// The SQL of the tables that its methods need beside those of the register.
    pub fn definitions(&self) -> Vec<String> {
        let engine = self.database.source.engine();
        let has_key = |method: &Method| {
            let once = method.write.as_ref().map(|write| &write.once);
            matches!(once, Some(Once::Key { .. }))
        };
        let keys = self.methods.iter().any(has_key);
        let keys = keys.then(|| key_table::definition(engine).to_owned());
        let tables: BTreeSet<_> = self
            .methods
            .iter()
            .filter_map(|method| method.changes.as_ref())
            .collect();
        let changes = tables.into_iter();
        let changes = changes.filter_map(|table| change_table::definition(engine, table));
        keys.into_iter().chain(changes).collect()
    }

    /// The lock file with the field numbers, beside the configuration.
    pub fn lock_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        name.into()
    }

    /// The file's own name, for texts that must not depend on where it lies.
    pub fn file_name(&self) -> String {
        self.path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }
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

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.package, self.name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "line {}, {}: {}",
            self.line, self.place, self.fault
        )
    }
}

fn listing(path: &Path, problems: &[Problem]) -> String {
    let mut text = format!("{} cannot be used:", path.display());
    for problem in problems {
        text.push_str(&format!("\n  {problem}"));
    }
    text
}

#[cfg(test)]
mod tests;
