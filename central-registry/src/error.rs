//! What can go wrong in a registry and in an officer's command, and what to do about it.

use std::{io, path::PathBuf};

use trust::{
    Refusal,
    configuration::{InvalidEntry, RejectedChange},
};

/// Why a command or the server stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("{doing} {} failed", .path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The failure.
        #[source]
        source: io::Error,
    },
    /// A file of keys or certificates cannot be used.
    #[error(transparent)]
    KeyFile(#[from] certs::FileError),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] certs::IssueError),
    /// A file does not say what it should; file, place and remedy.
    #[error("{}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where in it, what is wrong, and what to do.
        problem: String,
    },
    /// A registry is there already.
    #[error(
        "{} exists already and is not overwritten; move it away or choose another place",
        .0.display()
    )]
    Exists(PathBuf),
    /// A root document or a head that does not verify.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Unusable(String),
    /// The log cannot be opened or read.
    #[error("the log of the registry")]
    Log(#[from] verifiable_log::Error),
    /// Nothing was appended to the log.
    #[error("the log of the registry")]
    Append(#[from] verifiable_log::AppendError),
    /// The log is not the log of a registry.
    #[error("the log does not fold to a state: it was not written by a registry like this one")]
    Fold(#[from] InvalidEntry),
    /// What was published before does not fit the log.
    #[error(
        "{0}. The log was replaced by an older or a different one; bring back the newest copy of \
         the log, since servers refuse a configuration that does not extend the one they have"
    )]
    RolledBack(String),
    /// Changes that the rules do not allow. Nothing was recorded.
    #[error(transparent)]
    Rejected(#[from] RejectedChange),
    /// The clock stands before the newest publication.
    #[error(
        "the clock stands {0} s before the newest publication: nothing is published until it is set"
    )]
    ClockBehind(i64),
    /// Nobody answers on the administration socket.
    #[error("{} does not answer; is `central-registry serve` running there?", .path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The failure.
        #[source]
        source: tonic::transport::Error,
    },
    /// The registry refused or failed.
    #[error("the registry answers: {}", .0.message())]
    Answer(Box<tonic::Status>),
}

impl Error {
    /// Says what was being done when the file system failed.
    pub(crate) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File {
            doing,
            path: path.into(),
            source,
        }
    }

    /// Says what is wrong in a file.
    pub(crate) fn content(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Content {
            path: path.into(),
            problem: problem.to_string(),
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Answer(Box::new(status))
    }
}
