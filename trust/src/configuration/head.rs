//! The head: which state is in force, signed as a checkpoint of the registry's log.

use bytes::Bytes;
use prost::Message;

use super::{RootDocument, invalid};
use crate::{
    Digest,
    checkpoint::{LogKey, Origin, SignedCheckpoint},
    leaf::LeafPreimage,
    merkle,
    refusal::{Reason, Refusal},
    wire::{
        configuration::{Entry, Head, Publication, entry::Body},
        evidence::RecordKind,
    },
};

/// How far a head's time may lie ahead of ours, in seconds.
pub const CLOCK_SKEW_SECONDS: i64 = 60;

/// The most an encoded head may measure.
const HEAD_LIMIT: usize = 128 * 1024;

/// A head whose checkpoint, entry and inclusion proof were verified under a root document.
#[derive(Debug, Clone)]
pub struct VerifiedHead {
    encoded: Bytes,
    digest: Digest,
    serial: u64,
    index: u64,
    tree_root: Digest,
    publication: Publication,
    state_root: Digest,
}

impl VerifiedHead {
    /// Verifies an encoded `Head`.
    ///
    /// # Errors
    /// `InvalidConfiguration` saying which part does not hold.
    pub fn verify(encoded: Bytes, root: &RootDocument) -> Result<Self, Refusal> {
        if encoded.len() > HEAD_LIMIT {
            return Err(invalid("the head is too large"));
        }
        let head = Head::decode(encoded.clone())
            .map_err(|error| invalid(format!("the head does not parse: {error}")))?;
        let note = SignedCheckpoint::parse(&head.checkpoint)
            .map_err(|error| invalid(format!("the head's checkpoint: {error}")))?;
        let origin = Origin::of_registry(root.instance());
        let keys = root
            .document()
            .head_keys
            .iter()
            .filter_map(|key| LogKey::from_slice(key));
        let checkpoint = keys
            .filter_map(|key| note.verify(&origin, &key).ok())
            .next()
            .ok_or_else(|| invalid("the head is not signed by a head key of the root document"))?;
        check_inclusion(&head, checkpoint.size, &checkpoint.root)?;
        let publication = publication_of(&head, root)?;
        let state_root = Digest::from_slice(&publication.state_root)
            .ok_or_else(|| invalid("the publication's state root is not 32 bytes"))?;
        Ok(Self {
            digest: Digest::of(&encoded),
            serial: checkpoint.size,
            index: head.index,
            tree_root: checkpoint.root,
            encoded,
            publication,
            state_root,
        })
    }

    /// The head as it was published.
    #[must_use]
    pub const fn encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// SHA-256 of the encoded head, as records name it.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The serial: the size of the registry's log.
    #[must_use]
    pub const fn serial(&self) -> u64 {
        self.serial
    }

    /// The index of the publication in the registry's log. The serial can grow without it, when an
    /// old publication is proven under a newer checkpoint.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// What was published.
    #[must_use]
    pub const fn publication(&self) -> &Publication {
        &self.publication
    }

    /// Root of the state in force.
    #[must_use]
    pub const fn state_root(&self) -> Digest {
        self.state_root
    }

    /// Asks whether the head is in force at a time in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// `NoConfiguration` when it has expired.
    pub fn check_validity(&self, at: i64) -> Result<(), Refusal> {
        if at >= self.publication.expires_at {
            return Err(Refusal::new(
                Reason::NoConfiguration,
                format!(
                    "the newest global configuration of this server (serial {}) has expired",
                    self.serial
                ),
            ));
        }
        Ok(())
    }

    /// Asks whether this head may be accepted at `now`, given the newest `issued_at` ever seen:
    /// neither from the future, nor by a clock that was set back.
    ///
    /// # Errors
    /// `InvalidConfiguration` or `ClockBehind`.
    pub fn check_time(&self, now: i64, newest_issued_at: i64) -> Result<(), Refusal> {
        if self.publication.issued_at > now + CLOCK_SKEW_SECONDS {
            return Err(invalid(
                "the head was issued in the future; compare the clocks",
            ));
        }
        if now + CLOCK_SKEW_SECONDS < newest_issued_at {
            return Err(Refusal::new(
                Reason::ClockBehind,
                "the clock stands before the time of a configuration already accepted",
            ));
        }
        Ok(())
    }

    /// Asks whether this head extends `older`: larger, or the same, and proven consistent, with a
    /// publication that is not an earlier one. (Whoever carries the files could prove an old
    /// publication in a new checkpoint, and so take back what was changed since.)
    ///
    /// # Errors
    /// `InvalidConfiguration`: a rollback or a fork.
    pub fn check_extends(&self, older: &Self, proof: &[Digest]) -> Result<(), Refusal> {
        let (old, new) = (older.serial, self.serial);
        if new < old {
            return Err(invalid(format!(
                "serial {new} is older than {old}, accepted before"
            )));
        }
        if self.index < older.index {
            return Err(invalid(format!(
                "serial {new} names publication {}, before {} that was accepted already",
                self.index, older.index
            )));
        }
        merkle::verify_consistency(old, &older.tree_root, new, &self.tree_root, proof).map_err(
            |error| {
                invalid(format!(
                    "serial {new} does not extend serial {old}: {error}; the registry's log was \
                     rolled back or forked"
                ))
            },
        )
    }
}

fn check_inclusion(head: &Head, size: u64, root: &Digest) -> Result<(), Refusal> {
    let malformed = || invalid("the head's inclusion proof is malformed");
    let annex_digest = Digest::from_slice(&head.annex_digest).ok_or_else(malformed)?;
    let proof: Option<Vec<Digest>> = head
        .proof
        .iter()
        .map(|hash| Digest::from_slice(hash))
        .collect();
    let leaf = LeafPreimage {
        kind: RecordKind::Entry as u8,
        message_digest: Digest::of(&head.entry),
        signature_digest: Digest::of(b""),
        annex_digest,
    };
    let proof = proof.ok_or_else(malformed)?;
    merkle::verify_inclusion(&leaf.leaf(), head.index, size, &proof, root).map_err(|error| {
        invalid(format!(
            "the publication is not in the registry's log: {error}"
        ))
    })
}

fn publication_of(head: &Head, root: &RootDocument) -> Result<Publication, Refusal> {
    let entry = Entry::decode(head.entry.clone())
        .map_err(|error| invalid(format!("the head's entry does not parse: {error}")))?;
    if entry.instance != root.instance().as_str() {
        return Err(invalid("the head's entry is of another instance"));
    }
    match entry.body {
        Some(Body::Publication(publication)) => Ok(publication),
        _ => Err(invalid("the head's entry is no publication")),
    }
}
