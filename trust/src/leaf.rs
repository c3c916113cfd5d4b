//! The leaf of a record: what a log commits to, without the content.

use crate::{Digest, merkle};

/// The version of the leaf's encoding.
const VERSION: u8 = 1;

/// What stands in a leaf: 98 bytes, version, kind and three digests in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafPreimage {
    /// The kind of the record: a `RecordKind` of the wire.
    pub kind: u8,
    /// Of a message: its message digest. Of a local record: SHA-256 of its header.
    pub message_digest: Digest,
    /// SHA-256 of the signature value; of a local record, SHA-256 of nothing.
    pub signature_digest: Digest,
    /// SHA-256 of the annex.
    pub annex_digest: Digest,
}

impl LeafPreimage {
    /// The length of the encoding.
    pub const LENGTH: usize = 2 + 3 * 32;

    /// The leaf of a record made by the keeper of the log itself, which has no signature.
    #[must_use]
    pub fn of_local_record(kind: u8, header: &[u8], annex: &[u8]) -> Self {
        Self {
            kind,
            message_digest: Digest::of(header),
            signature_digest: Digest::of(b""),
            annex_digest: Digest::of(annex),
        }
    }

    /// The 98 bytes that are hashed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        bytes.extend([VERSION, self.kind]);
        for digest in [
            &self.message_digest,
            &self.signature_digest,
            &self.annex_digest,
        ] {
            bytes.extend(digest.as_bytes());
        }
        bytes
    }

    /// The leaf hash.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        merkle::leaf_hash(&self.encode())
    }
}
