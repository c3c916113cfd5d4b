//! The data subject of a message: whom it is about, kept as a keyed hash and never as itself.

use std::{collections::BTreeSet, fmt};

use aws_lc_rs::hmac;

use crate::Digest;

/// The most persons that one record names; a message about more says [`Unread::TooMany`].
pub const SUBJECTS_LIMIT: usize = 1000;

/// What the hash is over begins with this, so that the key says nothing about other texts.
const PURPOSE: &[u8] = b"lienthong.subject.v1\0";

/// The key of one server's hashes: who has it can find a person in the server's log, and can try out
/// all numbers. It never leaves the agency.
pub struct SubjectKey(hmac::Key);

impl SubjectKey {
    /// Length of the key in bytes.
    pub const LENGTH: usize = 32;

    /// A key of random bytes.
    #[must_use]
    pub fn new(bytes: &[u8; Self::LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key as its file holds it: 64 hexadecimal digits, and the end of the line.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = hex::decode(text.trim_ascii()).ok()?;
        Some(Self::new(bytes.as_slice().try_into().ok()?))
    }

    /// HMAC-SHA-256 (RFC 2104) over the purpose and an identifier, without the blanks around it: the
    /// same person has the same hash in all records of a log, whichever service was called.
    #[must_use]
    pub fn hash(&self, identifier: &str) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(PURPOSE);
        context.update(identifier.trim().as_bytes());
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash.into()
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SubjectKey(..)")
    }
}

/// Whom a message is about, as far as could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Keyed hashes; each person once.
    pub hashes: BTreeSet<Digest>,
    /// Why others may be missing.
    pub unread: Option<Unread>,
}

/// Why it is not known, or not wholly, whom a message is about. A search says how many messages there
/// are of which it cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unread {
    /// The registered descriptor could not be had when the exchange began, or is none.
    NoDescriptor,
    /// The registered descriptor does not have the method, or not all of its types.
    UnknownMethod,
    /// The message is compressed.
    Compressed,
    /// The message is not what the descriptor says, or what marks a person is no text or number.
    Unreadable,
    /// The message is about more persons than a record names.
    TooMany,
}

impl Unread {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::NoDescriptor,
        Self::UnknownMethod,
        Self::Compressed,
        Self::Unreadable,
        Self::TooMany,
    ];

    /// As it stands in the annex.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoDescriptor => "no_descriptor",
            Self::UnknownMethod => "unknown_method",
            Self::Compressed => "compressed",
            Self::Unreadable => "unreadable",
            Self::TooMany => "too_many",
        }
    }
}

impl Subjects {
    /// Nothing is known of a message that may be about somebody.
    #[must_use]
    pub fn unread(why: Unread) -> Self {
        Self {
            unread: Some(why),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with openssl: printf 'lienthong.subject.v1\0001087123456' | openssl dgst -sha256
    /// -mac HMAC -macopt hexkey:0707...07
    #[test]
    fn a_person_has_the_hash_that_others_compute() {
        let key = SubjectKey::from_text(&format!("{}\n", "07".repeat(32))).unwrap();
        let expected = "a68e48b733750ff43bfa96a5203387d0e7e975058553c8c24a2923e017aabe3a";
        for written in ["001087123456", " 001087123456 "] {
            assert_eq!(key.hash(written).to_string(), expected);
        }
        assert_ne!(key.hash("001087123457").to_string(), expected);
        assert!(!format!("{key:?}").contains("07"));
    }

    #[test]
    fn a_key_has_32_bytes() {
        for wrong in ["", "07", &"07".repeat(33), &"zz".repeat(32)] {
            assert!(SubjectKey::from_text(wrong).is_none(), "{wrong}");
        }
    }
}
