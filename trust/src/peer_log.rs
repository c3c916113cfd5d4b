//! What one server knows of another's log: its newest checkpoint, and promises not proven yet.
//!
//! The consumer of an exchange asks the provider's server for checkpoints and proofs, and keeps
//! what it gets as records. This is the decision about an answer; the auditor of the consumer's log
//! makes it again from the records.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    Digest,
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    merkle::{verify_consistency, verify_joint_inclusion},
    wire::evidence::PeerCheckpoint,
};

/// The most promises that are asked about at once.
pub const PROMISES_LIMIT: usize = 1024;

/// The verdict on an answer with which nothing is wrong.
pub const KEPT: &str = "kept";

/// What is wrong with an answer, or with the log that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There was none.
    NoAnswer,
    /// The checkpoint is none of that log, or not signed by its registered key.
    InvalidCheckpoint,
    /// The checkpoint is smaller than one given before.
    RolledBack,
    /// The checkpoint is not proven to extend the one given before: the log was forked.
    NotExtended,
    /// The leaves are not proven to be in the log.
    NotProven,
    /// Another leaf is proven where a reply promised the record of a request.
    PromiseBroken,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 6] = [
        Self::NoAnswer,
        Self::InvalidCheckpoint,
        Self::RolledBack,
        Self::NotExtended,
        Self::NotProven,
        Self::PromiseBroken,
    ];

    /// The name in records, e.g. `promise_broken`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no_answer",
            Self::InvalidCheckpoint => "invalid_checkpoint",
            Self::RolledBack => "rolled_back",
            Self::NotExtended => "not_extended",
            Self::NotProven => "not_proven",
            Self::PromiseBroken => "promise_broken",
        }
    }
}

/// What is known of one log.
#[derive(Debug, Clone, Default)]
pub struct PeerLog {
    newest: Option<Checkpoint>,
    /// Leaves by index. Two replies may promise one index for different leaves: one is broken then.
    promised: BTreeMap<u64, Vec<Digest>>,
}

/// What an answer comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The checkpoint to go on from, when it may be believed.
    pub newest: Option<Checkpoint>,
    /// Promises that are proven to be kept.
    pub kept: Vec<(u64, Digest)>,
    /// Promises that are proven to be broken, with the leaf that was promised.
    pub broken: Vec<(u64, Digest)>,
    /// What is wrong, and that in words.
    pub fault: Option<(Fault, String)>,
}

impl Judgement {
    /// As it stands in a record.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        self.fault.as_ref().map_or(KEPT, |(fault, _)| fault.name())
    }

    fn of_fault(fault: Fault, words: impl Into<String>) -> Self {
        Self {
            newest: None,
            kept: Vec::new(),
            broken: Vec::new(),
            fault: Some((fault, words.into())),
        }
    }
}

impl PeerLog {
    /// A log of which this checkpoint was accepted, and nothing is promised.
    #[must_use]
    pub const fn of(newest: Option<Checkpoint>) -> Self {
        Self {
            newest,
            promised: BTreeMap::new(),
        }
    }

    /// The newest checkpoint that was accepted.
    #[must_use]
    pub const fn newest(&self) -> Option<&Checkpoint> {
        self.newest.as_ref()
    }

    /// How many promised records are not proven yet.
    #[must_use]
    pub fn unproven(&self) -> usize {
        self.promised.len()
    }

    /// What is promised and not proven yet, by index.
    pub fn promises(&self) -> impl Iterator<Item = (u64, &Digest)> {
        let promised = self.promised.iter();
        promised.flat_map(|(index, leaves)| leaves.iter().map(|leaf| (*index, leaf)))
    }

    /// Takes in a promise.
    pub fn promised(&mut self, index: u64, leaf: Digest) {
        let leaves = self.promised.entry(index).or_default();
        if !leaves.contains(&leaf) {
            leaves.push(leaf);
        }
    }

    /// The promised indices from `index` on, ascending: as many as are asked about at once.
    #[must_use]
    pub fn indices_from(&self, index: u64) -> Vec<u64> {
        let indices = self.promised.range(index..).map(|(index, _)| *index);
        indices.take(PROMISES_LIMIT).collect()
    }

    /// Judges an answer by the key that is registered for the log, if one is.
    #[must_use]
    pub fn judge(
        &self,
        answer: &PeerCheckpoint,
        origin: &Origin,
        key: Option<&LogKey>,
    ) -> Judgement {
        if answer.checkpoint.is_empty() {
            return Judgement::of_fault(Fault::NoAnswer, "there was no answer");
        }
        let Some(key) = key else {
            let words = "no key is registered for the log";
            return Judgement::of_fault(Fault::InvalidCheckpoint, words);
        };
        let given = match checked(&answer.checkpoint, origin, key) {
            Ok(given) => given,
            Err(words) => return Judgement::of_fault(Fault::InvalidCheckpoint, words),
        };
        if let Some(newest) = &self.newest
            && let Err((fault, words)) = check_extends(newest, &given, &answer.consistency)
        {
            return Judgement::of_fault(fault, words);
        }
        let leaves = match proven_leaves(answer, &given) {
            Ok(leaves) => leaves,
            Err(words) => return Judgement::of_fault(Fault::NotProven, words),
        };
        self.compare(&leaves, given)
    }

    /// Holds what is proven against what was promised.
    fn compare(&self, leaves: &[(u64, Digest)], given: Checkpoint) -> Judgement {
        let mut judgement = Judgement {
            newest: Some(given),
            kept: Vec::new(),
            broken: Vec::new(),
            fault: None,
        };
        for (index, proven) in leaves {
            for promised in self.promised.get(index).into_iter().flatten() {
                let decided = if promised == proven {
                    &mut judgement.kept
                } else {
                    &mut judgement.broken
                };
                decided.push((*index, *promised));
            }
        }
        if let Some((index, _)) = judgement.broken.first() {
            let words = format!(
                "{} promises are broken: another record than promised stands at index {index}",
                judgement.broken.len()
            );
            judgement.fault = Some((Fault::PromiseBroken, words));
        }
        judgement
    }

    /// Goes on from an answer that was judged and recorded before: by whoever recorded it, since
    /// nothing is judged again here.
    pub fn recall(&mut self, recorded: &PeerCheckpoint) {
        let decided = [KEPT, Fault::PromiseBroken.name()].contains(&recorded.verdict.as_str());
        if !decided {
            return;
        }
        if let Ok(signed) = SignedCheckpoint::parse(&recorded.checkpoint) {
            self.newest = Some(signed.unverified().clone());
        }
        for index in &recorded.promised {
            self.promised.remove(index);
        }
    }

    /// Goes on from a judgement that was recorded: what was decided is not asked again.
    pub fn take(&mut self, judgement: &Judgement) {
        if judgement.newest.is_some() {
            self.newest.clone_from(&judgement.newest);
        }
        for (index, _) in judgement.kept.iter().chain(&judgement.broken) {
            self.promised.remove(index);
        }
    }
}

fn checked(note: &Bytes, origin: &Origin, key: &LogKey) -> Result<Checkpoint, String> {
    let signed = SignedCheckpoint::parse(note).map_err(|error| error.to_string())?;
    let checkpoint = signed.verify(origin, key);
    checkpoint.cloned().map_err(|error| error.to_string())
}

fn check_extends(
    newest: &Checkpoint,
    given: &Checkpoint,
    proof: &[Bytes],
) -> Result<(), (Fault, String)> {
    let (old, new) = (newest.size, given.size);
    if new < old {
        let words = format!("the log had {old} records before, and has {new} now");
        return Err((Fault::RolledBack, words));
    }
    if old == 0 || (old == new && newest.root == given.root) {
        return Ok(());
    }
    let proof = hashes(proof).map_err(|words| (Fault::NotExtended, words))?;
    verify_consistency(old, &newest.root, new, &given.root, &proof).map_err(|error| {
        let words = format!("the log of {new} records does not extend that of {old}: {error}");
        (Fault::NotExtended, words)
    })
}

/// The leaves that an answer proves, by their index.
fn proven_leaves(
    answer: &PeerCheckpoint,
    given: &Checkpoint,
) -> Result<Vec<(u64, Digest)>, String> {
    let (indices, leaves) = (&answer.promised, hashes(&answer.leaves)?);
    if indices.len() != leaves.len() {
        let words = format!("{} leaves for {} promises", leaves.len(), indices.len());
        return Err(words);
    }
    let leaves: Vec<_> = indices.iter().copied().zip(leaves).collect();
    if !leaves.is_empty() {
        let proof = hashes(&answer.inclusion)?;
        verify_joint_inclusion(&leaves, given.size, &proof, &given.root)
            .map_err(|error| error.to_string())?;
    }
    Ok(leaves)
}

fn hashes(bytes: &[Bytes]) -> Result<Vec<Digest>, String> {
    let hashes = bytes.iter().map(|bytes| Digest::from_slice(bytes));
    let hashes: Option<Vec<_>> = hashes.collect();
    hashes.ok_or_else(|| "a hash has not 32 bytes".to_owned())
}
