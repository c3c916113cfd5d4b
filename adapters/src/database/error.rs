//! What can go wrong in a database; never a value of it.

use std::io;

/// What went wrong in the database; never a value of it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It cannot be reached or opened.
    #[error("the database cannot be reached or opened: {detail}; {remedy}")]
    Unavailable {
        /// What the engine or the system said.
        detail: String,
        /// What to look at.
        remedy: &'static str,
    },
    /// It does not let this account in, or not to what is asked for.
    #[error("the database does not let this account in: {detail}")]
    Denied {
        /// What the engine said.
        detail: String,
    },
    /// Something that the configuration names is not there.
    #[error("{detail}")]
    NotThere {
        /// What it is, and why.
        detail: String,
    },
    /// Another program holds a lock for longer than `lock_timeout`.
    #[error("another program holds a lock on the database; try again, or raise lock_timeout")]
    Locked,
    /// The call's time is over.
    #[error("the statement did not end within its time")]
    Deadline,
    /// The engine has no memory for it.
    #[error("the statement needs more memory than the database may take (SQLite: memory_bytes)")]
    Memory,
    /// It is not a database, or a damaged one.
    #[error("the database is none, or a damaged one: {detail}")]
    Damaged {
        /// What the engine said.
        detail: String,
    },
    /// It is one that this version does not read.
    #[error("{what} is not read by this version; {remedy}")]
    Unsupported {
        /// What it is.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The engine refuses the statement.
    #[error("{engine} refuses the statement (code {code}): {detail}")]
    Statement {
        /// Which engine.
        engine: &'static str,
        /// The engine's code for it.
        code: String,
        /// The engine's message, which may repeat parameters: for `check`, never for a call.
        detail: String,
    },
    /// What a statement would store is there already.
    #[error("there is such a row already: {detail}")]
    Conflict {
        /// The engine's message, which may repeat values: never for a call.
        detail: String,
    },
    /// What a statement would store breaks a rule of the database.
    #[error("a rule of the database forbids it: {detail}")]
    Constraint {
        /// The engine's message, which may repeat values: never for a call.
        detail: String,
    },
    /// A value cannot be of the type that the database has for it.
    #[error("value {value} of the statement cannot be {expected}")]
    Parameter {
        /// The value, counted through all request fields.
        value: usize,
        /// What the database takes there.
        expected: &'static str,
    },
    /// Reading stopped without an answer.
    #[error("reading the database stopped without an answer: {detail}")]
    Stopped {
        /// What the driver said of it; never a value.
        detail: &'static str,
    },
}

impl DatabaseError {
    /// A server cannot be reached.
    pub(super) const fn no_server(detail: String) -> Self {
        Self::Unavailable {
            detail,
            remedy: "see that the server runs and that its address is right",
        }
    }

    /// The way to a server fails.
    pub(super) fn of_network(fault: &io::Error) -> Self {
        match fault.kind() {
            // What TLS says of a certificate comes as this.
            io::ErrorKind::InvalidData => Self::unknown_server(fault.to_string()),
            _ => Self::no_server(fault.to_string()),
        }
    }

    /// A server is not known by its certificate.
    pub(super) const fn unknown_server(detail: String) -> Self {
        Self::Unavailable {
            detail,
            remedy: "see that `ca` holds the authority of its certificate, and that `host` is a name in it",
        }
    }

    /// The driver says something that has no meaning for a caller.
    pub(super) const fn of_driver() -> Self {
        Self::Stopped {
            detail: "the connection is of no use any more",
        }
    }
}
