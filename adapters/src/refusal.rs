//! Every way a call can end without its answer, and the gRPC status that says so.
//!
//! A status tells the caller what to do; it never holds SQL, a value, or a name of the database.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::database::DatabaseError;

/// The domain of the `google.rpc.ErrorInfo` that comes with every refusal.
pub const DOMAIN: &str = "lienthong.adapter";

/// A call that is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The bytes are not the request message.
    Unreadable,
    /// The name of the consumer, as the security server passes it on, is none.
    Caller,
    /// The request has a field that this `.proto` does not have.
    UnknownField(u32),
    /// A required request field is absent, or a text without content.
    Missing(String),
    /// A request field is not of its type.
    Invalid {
        /// The field.
        field: String,
        /// What its type asks for.
        expected: &'static str,
    },
    /// No record matches.
    NoRecord,
    /// More than one record matches where one is asked for.
    SeveralRecords {
        /// How many were counted.
        count: u64,
        /// Whether counting went to the end.
        exact: bool,
    },
    /// More rows match than one answer may have.
    RowLimit(u64),
    /// One reply message is larger than it may be.
    ReplyTooLarge(usize),
    /// There is no change at the position from which the stream is to go on.
    PositionUnknown,
    /// The SQL text of a method of changes does not answer them in their order.
    Order,
    /// As many calls as are admitted are running.
    Busy(usize),
    /// No grant is for this consumer and purpose.
    NotGranted,
    /// The grant allows no more calls now.
    TooOften,
    /// The time is over.
    Deadline,
    /// A column holds something else than the configuration says.
    Value {
        /// The reply field.
        field: String,
        /// The row of this answer, from 1.
        row: u64,
        /// What the field's type asks for.
        expected: &'static str,
        /// The storage class found.
        found: &'static str,
    },
    /// What a step would store is there already.
    Conflict(String),
    /// A step breaks a rule of the database.
    Constraint(String),
    /// A step changed another number of rows than it must.
    StepRows {
        /// The step.
        step: String,
        /// How many it must change.
        wanted: u64,
        /// How many it would have changed.
        changed: u64,
    },
    /// The key was used for another request.
    KeyReused(String),
    /// It is not known whether it was done.
    OutcomeUnknown,
    /// A step has ended the transaction by itself.
    NotWhole,
    /// The database cannot be reached.
    DatabaseUnavailable,
    /// Another program keeps the database locked.
    DatabaseLocked,
    /// The database does not let the adapter in, or not to what is asked for.
    DatabaseDenied,
    /// The database is damaged or not what was configured.
    DatabaseDamaged,
    /// The statement needs more memory than allowed.
    Memory,
    /// The database refuses the statement, with its own code.
    Statement(String),
    /// Reading stopped without an answer.
    Stopped,
}

impl Refusal {
    /// The stable word for programs.
    pub fn reason(&self) -> &'static str {
        self.terms().1
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::TooOften
                | Self::DatabaseUnavailable
                | Self::DatabaseLocked
                | Self::Stopped
                | Self::OutcomeUnknown
        )
    }

    /// The status with its details.
    pub fn to_status(&self) -> Status {
        let (code, reason) = self.terms();
        let retry = if self.retry() { "true" } else { "false" };
        let mut metadata = HashMap::from([("retry".to_owned(), retry.to_owned())]);
        let mut add = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        match self {
            Self::Missing(field) | Self::Invalid { field, .. } => {
                add("field", field.clone());
            }
            Self::KeyReused(field) => {
                add("field", field.clone());
            }
            Self::Conflict(step) | Self::Constraint(step) => {
                add("step", step.clone());
            }
            Self::StepRows {
                step,
                wanted,
                changed,
            } => {
                add("step", step.clone());
                add("wanted", wanted.to_string());
                add("changed", changed.to_string());
            }
            Self::SeveralRecords { count, exact } => {
                add("count", count.to_string());
                add(
                    "count_is",
                    if *exact { "exact" } else { "at_least" }.to_owned(),
                );
            }
            Self::RowLimit(limit) => {
                add("limit", limit.to_string());
            }
            Self::ReplyTooLarge(limit) | Self::Busy(limit) => {
                add("limit", limit.to_string());
            }
            Self::Value { field, row, .. } => {
                add("field", field.clone());
                add("row", row.to_string());
            }
            _ => {}
        }
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Status::with_error_details(code, self.sentence(), details)
    }

    /// The gRPC code and the stable reason of each refusal.
    fn terms(&self) -> (Code, &'static str) {
        match self {
            Self::Unreadable => (Code::InvalidArgument, "REQUEST_UNREADABLE"),
            Self::Caller => (Code::InvalidArgument, "CALLER_UNREADABLE"),
            Self::UnknownField(_) => (Code::InvalidArgument, "FIELD_UNKNOWN"),
            Self::Missing(_) => (Code::InvalidArgument, "FIELD_MISSING"),
            Self::Invalid { .. } => (Code::InvalidArgument, "FIELD_INVALID"),
            Self::NoRecord => (Code::NotFound, "NO_RECORD"),
            Self::SeveralRecords { .. } => (Code::FailedPrecondition, "SEVERAL_RECORDS"),
            Self::RowLimit(_) => (Code::ResourceExhausted, "ROW_LIMIT"),
            Self::ReplyTooLarge(_) => (Code::ResourceExhausted, "REPLY_TOO_LARGE"),
            Self::PositionUnknown => (Code::OutOfRange, "POSITION_UNKNOWN"),
            Self::Order => (Code::Internal, "CHANGES_OUT_OF_ORDER"),
            Self::Busy(_) => (Code::ResourceExhausted, "TOO_MANY_CALLS"),
            Self::NotGranted => (Code::PermissionDenied, "NOT_GRANTED"),
            Self::TooOften => (Code::ResourceExhausted, "TOO_OFTEN"),
            Self::Deadline => (Code::DeadlineExceeded, "DEADLINE"),
            Self::Value { .. } => (Code::Internal, "VALUE_UNREADABLE"),
            Self::Conflict(_) => (Code::AlreadyExists, "CONFLICT"),
            Self::Constraint(_) => (Code::FailedPrecondition, "CONSTRAINT"),
            Self::StepRows { .. } => (Code::FailedPrecondition, "STEP_ROWS"),
            Self::KeyReused(_) => (Code::FailedPrecondition, "KEY_REUSED"),
            Self::OutcomeUnknown => (Code::Unavailable, "OUTCOME_UNKNOWN"),
            Self::NotWhole => (Code::Internal, "NOT_WHOLE"),
            Self::DatabaseUnavailable => (Code::Unavailable, "DATABASE_UNAVAILABLE"),
            Self::DatabaseLocked => (Code::Unavailable, "DATABASE_LOCKED"),
            Self::DatabaseDenied => (Code::Internal, "DATABASE_DENIED"),
            Self::DatabaseDamaged => (Code::Internal, "DATABASE_DAMAGED"),
            Self::Memory => (Code::ResourceExhausted, "MEMORY"),
            Self::Statement(_) => (Code::Internal, "STATEMENT_FAILED"),
            Self::Stopped => (Code::Unavailable, "READING_STOPPED"),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Unreadable => "the request is not the message that the .proto of this service \
                                 describes; build the client from the published .proto"
                .to_owned(),
            Self::Caller => "x-road-client is no name of a consumer of at most 400 bytes of ASCII; calls come through a \
                             security server, which sets it"
                .to_owned(),
            Self::UnknownField(number) => format!(
                "the request has a field {number} that this service does not know, and would be \
                 answered as if it were not there; build the client from the published .proto"
            ),
            Self::Missing(field) => {
                format!("the request field {field} is required; give it a value")
            }
            Self::Invalid { field, expected } => {
                format!("the request field {field} is not {expected}")
            }
            Self::NoRecord => "no record matches the request".to_owned(),
            Self::SeveralRecords { count, exact } => {
                let bound = if *exact { "" } else { "at least " };
                format!(
                    "{bound}{count} records match where one is asked for; ask more narrowly, or \
                     report the duplicates to the register"
                )
            }
            Self::RowLimit(limit) => format!(
                "more than {limit} records match, the most of one answer; those already sent are \
                 incomplete: ask more narrowly"
            ),
            Self::ReplyTooLarge(limit) => {
                format!("a record is larger than {limit} bytes, the most of one message")
            }
            Self::PositionUnknown => {
                "the register keeps no change at this position any more, so that changes may be missing behind it; read the \
                 register anew, and then its changes from the beginning"
                    .to_owned()
            }
            Self::Order => {
                "the register does not tell its changes in their order; its operator must correct the configuration"
                    .to_owned()
            }
            Self::Busy(limit) => {
                format!("{limit} calls are running, the most at once; try again shortly")
            }
            Self::NotGranted => {
                "the register grants this method to other consumers or for other purposes; ask its operator"
                    .to_owned()
            }
            Self::TooOften => {
                "the register allows fewer calls in a minute for this consumer and purpose; try again later"
                    .to_owned()
            }
            Self::Deadline => "the call took longer than it may; ask more narrowly or allow it \
                               more time"
                .to_owned(),
            Self::Value {
                field,
                row,
                expected,
                found,
            } => format!(
                "record {row} of the answer holds {found} where the field {field} is {expected}; \
                 the register's operator must correct the record or the configuration"
            ),
            Self::Conflict(step) => format!(
                "nothing was changed: what the step {step} would store is in the register already"
            ),
            Self::Constraint(step) => format!(
                "nothing was changed: a rule of the register forbids what the step {step} would store"
            ),
            Self::StepRows {
                step,
                wanted,
                changed,
            } => format!(
                "nothing was changed: the step {step} fits {changed} records of the register where it must fit {wanted}"
            ),
            Self::KeyReused(field) => format!(
                "nothing was changed: the value of {field} has named another request before; give each thing its own"
            ),
            Self::OutcomeUnknown => {
                "it is not known whether the register was changed; repeat the same call with the same key, which \
                 changes nothing twice"
                    .to_owned()
            }
            Self::NotWhole => {
                "the register has kept a part of what was asked, because a statement of its own ended the \
                 transaction; its operator must act, do not repeat the call"
                    .to_owned()
            }
            Self::DatabaseUnavailable => {
                "the register's database cannot be reached; try again later".to_owned()
            }
            Self::DatabaseLocked => {
                "the register's database is locked by another program; try again shortly".to_owned()
            }
            Self::DatabaseDenied => {
                "the register's database does not let this service read what is asked for; its operator must \
                 act, trying again does not help"
                    .to_owned()
            }
            Self::DatabaseDamaged => {
                "the register's database cannot be read; its operator must act, trying again does \
                 not help"
                    .to_owned()
            }
            Self::Memory => {
                "answering needs more memory than one adapter may take; ask more narrowly"
                    .to_owned()
            }
            Self::Statement(_) => {
                "the register's database refuses the question; its operator must run `adapter \
                 check`, trying again does not help"
                    .to_owned()
            }
            Self::Stopped => {
                "reading the register stopped before the answer was complete; try again".to_owned()
            }
        }
    }
}

impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable { .. } => Self::DatabaseUnavailable,
            DatabaseError::Locked => Self::DatabaseLocked,
            DatabaseError::Deadline => Self::Deadline,
            DatabaseError::Memory => Self::Memory,
            DatabaseError::Denied { .. } | DatabaseError::NotThere { .. } => Self::DatabaseDenied,
            DatabaseError::Damaged { .. } | DatabaseError::Unsupported { .. } => {
                Self::DatabaseDamaged
            }
            DatabaseError::Statement { code, .. } => Self::Statement(code),
            // Where something is stored the step is known and said.
            DatabaseError::Conflict { .. } => Self::Statement("a conflict".to_owned()),
            DatabaseError::Constraint { .. } => {
                Self::Statement("a rule of the database".to_owned())
            }
            DatabaseError::Parameter { value, .. } => Self::Statement(format!("value {value}")),
            DatabaseError::Stopped { .. } => Self::Stopped,
        }
    }
}
