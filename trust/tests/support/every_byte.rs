//! Every way to change one byte of a format, cut it, or go on behind its end: each is refused by
//! name, or stands in a list of what is irrelevant and why.

use std::{collections::BTreeSet, fmt::Debug, ops::Range};

/// A format with one valid sample of it.
pub struct Format<'a, Believed> {
    pub name: &'a str,
    pub valid: &'a [u8],
    /// Who verifies it: what is believed of the bytes, or the name of what is wrong with them.
    pub verify: &'a dyn Fn(&[u8]) -> Result<Believed, String>,
    pub irrelevant: Irrelevant<'a>,
}

/// What may be changed without changing what is believed. Each entry has its reason, and is an
/// error where it no longer holds.
#[derive(Default)]
pub struct Irrelevant<'a> {
    /// Bytes that have a bit which may be flipped.
    pub bytes: &'a [(Range<usize>, &'a str)],
    /// Lengths at which the bytes may be cut.
    pub cuts: &'a [(usize, &'a str)],
    /// What may follow.
    pub tails: &'a [(Tail, &'a str)],
}

/// What is put behind the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tail {
    Byte(u8),
    /// A whole block of zeros, as a disk may leave it.
    Zeros,
    /// A protobuf field with a number that no message has.
    UnknownField,
    /// The same bytes once more: protobuf merges them.
    Again,
}

impl Tail {
    fn all() -> impl Iterator<Item = Self> {
        let bytes = (0..=u8::MAX).map(Self::Byte);
        bytes.chain([Self::Zeros, Self::UnknownField, Self::Again])
    }

    fn bytes(self, valid: &[u8]) -> Vec<u8> {
        match self {
            Self::Byte(byte) => vec![byte],
            Self::Zeros => vec![0; 512],
            Self::UnknownField => b"\xfa\x3f\x02hi".to_vec(),
            Self::Again => valid.to_vec(),
        }
    }
}

impl<Believed: PartialEq + Debug> Format<'_, Believed> {
    /// Makes every change and gives the names of all refusals.
    pub fn check(&self) -> BTreeSet<String> {
        let Self { name, valid, .. } = *self;
        let believed = (self.verify)(valid).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let mut names = BTreeSet::new();
        // Whether changed bytes are accepted; if so, for what they are.
        let mut accepts = |changed: &[u8], what: &dyn Debug| match (self.verify)(changed) {
            Err(fault) => {
                assert!(!fault.is_empty(), "{name}, {what:?}: a refusal has a name");
                names.insert(fault);
                false
            }
            Ok(other) => {
                assert_eq!(
                    other, believed,
                    "{name}, {what:?}: something else is believed"
                );
                true
            }
        };

        let flip = |at: &usize| {
            let flips = (0..8).map(|bit| {
                let mut changed = valid.to_vec();
                changed[*at] ^= 1 << bit;
                accepts(&changed, &("byte", at, "bit", bit))
            });
            flips.fold(false, |any, accepted| any | accepted)
        };
        let bytes: BTreeSet<usize> = (0..valid.len()).filter(flip).collect();
        let cut = |length: &usize| accepts(&valid[..*length], &("cut", length));
        let cuts: BTreeSet<usize> = (0..valid.len()).filter(cut).collect();
        let tail = |tail: &Tail| accepts(&[valid, &tail.bytes(valid)].concat(), tail);
        let tails: BTreeSet<Tail> = Tail::all().filter(tail).collect();

        let listed = &self.irrelevant;
        let expected = listed
            .bytes
            .iter()
            .flat_map(|(range, _)| range.clone())
            .collect();
        assert_eq!(
            bytes, expected,
            "{name}: the bytes that are irrelevant, and those listed"
        );
        let expected = listed.cuts.iter().map(|(length, _)| *length).collect();
        assert_eq!(
            cuts, expected,
            "{name}: the cuts that are irrelevant, and those listed"
        );
        let expected = listed.tails.iter().map(|(tail, _)| *tail).collect();
        assert_eq!(
            tails, expected,
            "{name}: the tails that are irrelevant, and those listed"
        );
        names
    }
}
