//! Why a security server does not start, or stops by itself.

use std::{io, path::PathBuf, sync::Arc};

use certs::FileError;
use trust::Refusal;

use crate::{log, signer::SignerError, source::KeptError, subjects::SubjectKeyError};

/// Why a server did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The anchor is not one.
    #[error("{path}: {refusal}")]
    Anchor {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The server is of another instance than the anchor.
    #[error("server.toml is for {server}, but the anchor is of instance {instance}")]
    OtherInstance {
        /// As in server.toml.
        server: trust::ServerId,
        /// As in the anchor.
        instance: trust::InstanceId,
    },
    /// A key or certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] FileError),
    /// A signing key cannot be used.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The log key is not the one that signed the log's last checkpoint.
    #[error("{path} is not the key of this log: its last checkpoint was signed with another one")]
    OtherLogKey {
        /// The key file.
        path: PathBuf,
    },
    /// The message log cannot be opened.
    #[error("the message log cannot be opened")]
    Log(#[source] log::LogError),
    /// The key by which the log names persons cannot be used.
    #[error(transparent)]
    SubjectKey(#[from] SubjectKeyError),
    /// The kept configuration cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// More connections than this process may have open.
    #[error("{0}")]
    OpenFiles(String),
    /// Metrics cannot be kept.
    #[error("metrics cannot be kept")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    /// A listener cannot be opened.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A plaintext listener would be reachable from outside.
    #[error(
        "{address} is plain text and can be reached from outside this machine; use loopback, a Unix socket or [clients.tls]"
    )]
    PlaintextOutside {
        /// Where.
        address: String,
    },
    /// The message log stopped taking records.
    #[error("the message log takes no more records, so the server stops")]
    LogFailed(#[source] Arc<verifiable_log::Error>),
    /// An exchange that was open at the last stop cannot be closed.
    #[error("exchanges that were open at the last stop cannot be closed: {0}")]
    NotClosed(Refusal),
    /// A task of the server ended.
    #[error("a part of the server ended unexpectedly: {0}")]
    PartEnded(String),
}
