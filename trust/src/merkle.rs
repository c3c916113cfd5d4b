//! The Merkle tree of RFC 6962: roots, inclusion and consistency proofs, made and verified.
//!
//! Proofs are made over any source of subtree roots ([`Hashes`]) with a logarithmic number of
//! reads, and verified by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

mod joint;
mod verify;

use crate::Digest;

pub use joint::{joint_proof, verify_joint_inclusion};
pub use verify::{
    InvalidProof, Side, climb, root_of_inclusion, verify_consistency, verify_inclusion,
};

/// The leaf hash of `bytes`: SHA-256 of a zero byte and the bytes.
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], bytes])
}

/// The hash of an inner node: SHA-256 of a one byte and both children.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The right edge of a growing tree: all that appending and computing the root need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees that make up the tree, the largest first.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A frontier from its kept hashes; none if their number does not fit the size.
    #[must_use]
    pub fn from_hashes(size: u64, hashes: Vec<Digest>) -> Option<Self> {
        let fits = u64::try_from(hashes.len()) == Ok(u64::from(size.count_ones()));
        fits.then_some(Self {
            size,
            peaks: hashes,
        })
    }

    /// Reads the frontier of the first `size` leaves from a source of subtree roots.
    ///
    /// # Errors
    /// When the source fails.
    pub fn read<H: Hashes + ?Sized>(hashes: &H, size: u64) -> Result<Self, H::Error> {
        let peaks = peaks(hashes, 0, size)?;
        Ok(Self { size, peaks })
    }

    /// Appends a leaf.
    pub fn append(&mut self, leaf: Digest) {
        self.append_observed(leaf, |_, _, _| ());
    }

    /// Appends a leaf and tells the root of every complete subtree that this finishes, the leaf
    /// itself first: `(level, index, root)`.
    pub fn append_observed(&mut self, leaf: Digest, mut observe: impl FnMut(u8, u64, Digest)) {
        let mut node = leaf;
        let mut level = 0;
        observe(level, self.size, node);
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            level += 1;
            observe(level, self.size >> level, node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// How many leaves were appended.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes to keep, the largest subtree first.
    #[must_use]
    pub fn hashes(&self) -> &[Digest] {
        &self.peaks
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(&self.peaks)
    }
}

/// A source of the roots of complete subtrees.
pub trait Hashes {
    /// Why a root cannot be read.
    type Error;

    /// The root of the subtree over the 2^`level` leaves from `index` * 2^`level` on.
    ///
    /// # Errors
    /// When the source does not have it.
    fn subtree(&self, level: u8, index: u64) -> Result<Digest, Self::Error>;
}

/// The root of the tree of the first `size` leaves.
///
/// # Errors
/// When the source fails.
pub fn root<H: Hashes + ?Sized>(hashes: &H, size: u64) -> Result<Digest, H::Error> {
    range_root(hashes, 0, size)
}

/// Why a proof was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// What was asked for is not in the tree.
    #[error("asked for {asked} in a tree of {size} leaves")]
    OutsideTree {
        /// The leaf index or smaller size asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash could not be read.
    #[error("a hash of the tree could not be read")]
    Source(#[source] E),
}

/// The inclusion proof of leaf `index` in the tree of the first `size` leaves (RFC 6962, 2.1.1).
///
/// # Errors
/// When there is no such leaf, or the source fails.
pub fn inclusion_proof<H: Hashes + ?Sized>(
    hashes: &H,
    index: u64,
    size: u64,
) -> Result<Vec<Digest>, ProofError<H::Error>> {
    if index >= size {
        return Err(ProofError::OutsideTree { asked: index, size });
    }
    let mut proof = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        let sibling = if index < middle {
            let right = (middle, end);
            end = middle;
            right
        } else {
            let left = (start, middle);
            start = middle;
            left
        };
        proof.push(range_root(hashes, sibling.0, sibling.1).map_err(ProofError::Source)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `new_size` leaves extends that of `old_size` (RFC 6962, 2.1.2).
///
/// # Errors
/// When the old tree is not the smaller one, or the source fails.
pub fn consistency_proof<H: Hashes + ?Sized>(
    hashes: &H,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Digest>, ProofError<H::Error>> {
    if old_size > new_size {
        return Err(ProofError::OutsideTree {
            asked: old_size,
            size: new_size,
        });
    }
    let mut proof = Vec::new();
    if old_size == 0 || old_size == new_size {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new_size);
    while old_size != end {
        let middle = start + split(end - start);
        let sibling = if old_size <= middle {
            let right = (middle, end);
            end = middle;
            right
        } else {
            let left = (start, middle);
            start = middle;
            left
        };
        proof.push(range_root(hashes, sibling.0, sibling.1).map_err(ProofError::Source)?);
    }
    // The verifier already holds the old root when the whole old tree is one subtree of the new.
    if start != 0 {
        proof.push(range_root(hashes, start, end).map_err(ProofError::Source)?);
    }
    proof.reverse();
    Ok(proof)
}

/// A whole tree in memory, for sets that fit there, such as the state of the registry.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Roots of the complete subtrees by level; the leaves first.
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over these leaf hashes.
    #[must_use]
    pub fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let level = below
                .chunks_exact(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node_hash(left, right)),
                    _ => None,
                })
                .collect();
            levels.push(level);
        }
        Self { levels }
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Digest {
        // Every subtree that the root needs is complete, so it is in the levels.
        root(self, self.size()).unwrap_or_else(|MissingHash { .. }| empty_root())
    }

    /// The inclusion proof of leaf `index`; none if there is no such leaf.
    #[must_use]
    pub fn inclusion_proof(&self, index: u64) -> Option<Vec<Digest>> {
        inclusion_proof(self, index, self.size()).ok()
    }
}

/// A subtree that is not complete in this tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the subtree {index} of level {level} is not complete")]
pub struct MissingHash {
    /// Level; leaves are 0.
    pub level: u8,
    /// Position in the level.
    pub index: u64,
}

impl Hashes for Tree {
    type Error = MissingHash;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, MissingHash> {
        self.levels
            .get(usize::from(level))
            .zip(usize::try_from(index).ok())
            .and_then(|(hashes, index)| hashes.get(index))
            .copied()
            .ok_or(MissingHash { level, index })
    }
}

/// The size of the left subtree: the largest power of two smaller than `size` (at least 2).
const fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The root over the leaves from `start` to `end`, where `start` is a multiple of a power of two
/// that is not smaller than the range.
fn range_root<H: Hashes + ?Sized>(hashes: &H, start: u64, end: u64) -> Result<Digest, H::Error> {
    Ok(fold(&peaks(hashes, start, end)?))
}

fn peaks<H: Hashes + ?Sized>(hashes: &H, start: u64, end: u64) -> Result<Vec<Digest>, H::Error> {
    let size = end - start;
    let mut position = start;
    let mut peaks = Vec::with_capacity(size.count_ones() as usize);
    for level in (0..64).rev().filter(|level| size >> level & 1 == 1) {
        peaks.push(hashes.subtree(level, position >> level)?);
        position += 1 << level;
    }
    Ok(peaks)
}

fn fold(peaks: &[Digest]) -> Digest {
    peaks
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| node_hash(&left, &right))
        .unwrap_or_else(empty_root)
}

#[cfg(test)]
mod tests;
