//! Evidence containers: one exchange as a file that proves itself (ASiC-E, ETSI EN 319 162-1).
//!
//! ```text
//! mimetype                                  application/vnd.etsi.asic-e+zip
//! VERIFY.txt                                how to verify all this without our software
//! request-0000000000.header, .content       what was signed, message by message
//! META-INF/ASiCManifest-request-....xml     the manifest of each message
//! META-INF/signature-request-....p7s        its CAdES signature, with certificates
//! META-INF/evidence/records.json            the records of the log behind it, and their proofs
//! META-INF/evidence/checkpoint              what the server signed over its log
//! META-INF/evidence/...                     the same in the forms that openssl reads
//! ```
//!
//! A container holds a few records of a log, each proven to be in it: those of the exchange, and
//! those that they rely on, from the root documents on. All else in it follows from these records
//! ([`files`]) and is compared when a container is verified.

pub(crate) mod archive;
pub(crate) mod choice;
pub(crate) mod export;
pub(crate) mod files;
mod instructions;
mod message_files;
pub(crate) mod statement;
pub(crate) mod verification;

use trust::{
    Digest, ExchangeId,
    checkpoint::{Origin, SignedCheckpoint},
};
use verifiable_log::RawRecord;

/// The type of the file, which its first bytes say.
pub(crate) const MIME_TYPE: &[u8] = b"application/vnd.etsi.asic-e+zip";

/// What a container proves, and with what.
pub(crate) struct Evidence {
    pub(crate) exchange: ExchangeId,
    pub(crate) log: Origin,
    pub(crate) checkpoint: SignedCheckpoint,
    /// In the order of the log.
    pub(crate) records: Vec<ProvenRecord>,
}

/// A record, and the proof that it is in the log that the checkpoint was signed over.
#[derive(Clone)]
pub(crate) struct ProvenRecord {
    pub(crate) record: RawRecord,
    /// Inclusion proof (RFC 6962, 2.1.1), from the leaf's sibling up.
    pub(crate) proof: Vec<Digest>,
}
