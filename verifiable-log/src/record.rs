//! Records: what is appended, what is read back, and the receipt in between.

use bytes::Bytes;
use trust::{Digest, leaf::LeafPreimage};

use crate::error::{AppendError, InvalidRecord};

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 1024 * 1024;
/// The longest signature, in bytes.
pub const MAX_SIGNATURE: usize = 64 * 1024;
/// The longest annex, in bytes.
pub const MAX_ANNEX: usize = 64 * 1024;
/// The longest content, in bytes.
pub const MAX_CONTENT: usize = 64 * 1024 * 1024;

/// A record to append: the kept part, the erasable part, and the digests that make its leaf.
#[derive(Clone)]
pub struct Record {
    /// Header, signature and annex.
    pub kept: KeptPart,
    /// Of a message: its message digest. Of a local record: SHA-256 of its header.
    pub message_digest: Digest,
    /// SHA-256 of the signature value; of a local record, SHA-256 of nothing.
    pub signature_digest: Digest,
    /// The content in pieces, which are written one after the other without joining them.
    pub content: Vec<Bytes>,
}

impl Record {
    /// A record made by the keeper of the log itself: no signature, no content.
    #[must_use]
    pub fn local(kind: u8, header: Bytes, annex: Bytes) -> Self {
        Self {
            message_digest: Digest::of(&header),
            signature_digest: Digest::of(b""),
            kept: KeptPart {
                kind,
                header,
                signature: Bytes::new(),
                annex,
            },
            content: Vec::new(),
        }
    }

    /// What its leaf is computed from.
    #[must_use]
    pub fn leaf_preimage(&self) -> LeafPreimage {
        LeafPreimage {
            kind: self.kept.kind,
            message_digest: self.message_digest,
            signature_digest: self.signature_digest,
            annex_digest: Digest::of(&self.kept.annex),
        }
    }

    pub(crate) fn content_length(&self) -> usize {
        self.content.iter().map(Bytes::len).sum()
    }

    pub(crate) fn check_lengths(&self) -> Result<(), AppendError> {
        for (part, length, limit) in [
            ("the header", self.kept.header.len(), MAX_HEADER),
            ("the signature", self.kept.signature.len(), MAX_SIGNATURE),
            ("the annex", self.kept.annex.len(), MAX_ANNEX),
            ("the content", self.content_length(), MAX_CONTENT),
        ] {
            if length > limit {
                return Err(AppendError::TooLarge {
                    part,
                    length: length as u64,
                    limit: limit as u64,
                });
            }
        }
        Ok(())
    }
}

/// The part of a record that is never erased: all that its leaf is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPart {
    /// The kind of the record: a `RecordKind` of the wire.
    pub kind: u8,
    /// The message header, or the typed body of a local record.
    pub header: Bytes,
    /// The encoded `Signature`; empty in a local record.
    pub signature: Bytes,
    /// The encoded `Annex`.
    pub annex: Bytes,
}

/// A record as it was read, its checksums verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its position in the log, from 0.
    pub index: u64,
    /// Header, signature and annex.
    pub kept: KeptPart,
    /// The content; empty when there was none, zeros when it was destroyed.
    pub content: Bytes,
    /// How long the content is, or was before it was destroyed, in bytes.
    pub content_length: u64,
    /// Whether the content was destroyed. A later record says so, or the log is damaged.
    pub is_erased: bool,
}

/// Computes what the leaf of a record is made of. Pure: the same bytes give the same leaf.
pub type LeafOf = fn(&KeptPart) -> Result<LeafPreimage, InvalidRecord>;

/// The leaf of a local record: for logs that keep no messages.
///
/// # Errors
/// When the record has a signature, which no local record has.
pub fn leaf_of_local_record(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    if !kept.signature.is_empty() {
        let reason = format!("a record of kind {} has no signature", kept.kind);
        return Err(InvalidRecord(reason));
    }
    Ok(LeafPreimage::of_local_record(
        kept.kind,
        &kept.header,
        &kept.annex,
    ))
}

/// Proof that a record is on disk. Only the log makes one, after the sync, and it is used once.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    index: u64,
    leaf: Digest,
}

impl Receipt {
    pub(crate) const fn new(index: u64, leaf: Digest) -> Self {
        Self { index, leaf }
    }

    /// The position of the record in the log.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The leaf hash of the record.
    #[must_use]
    pub const fn leaf(&self) -> Digest {
        self.leaf
    }
}
