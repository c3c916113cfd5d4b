//! The Merkle tree of RFC 6962: roots, inclusion and consistency proofs, made and verified.
//!
//! Proofs are made over any source of subtree roots ([`Hashes`]) with a logarithmic number of
//! reads, and verified by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

use crate::Digest;

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

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProof {
    /// The sizes contradict each other.
    #[error("the proof asks for {asked} in a tree of {size} leaves")]
    OutsideTree {
        /// The leaf index or smaller size.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// Too many or too few hashes for these sizes.
    #[error("the proof does not have as many hashes as the tree needs")]
    Length,
    /// The hashes do not lead to the older root.
    #[error("the proof does not lead to the root of the smaller tree")]
    OldRoot,
    /// The hashes do not lead to the root.
    #[error("the proof does not lead to the root of the tree")]
    Root,
}

/// Verifies that `leaf` is leaf `index` of the tree with `size` leaves and this root.
///
/// # Errors
/// When it is not proven.
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), InvalidProof> {
    if index >= size {
        return Err(InvalidProof::OutsideTree { asked: index, size });
    }
    let mut path = Path {
        node: index,
        last: size - 1,
    };
    let mut computed = *leaf;
    for sibling in proof {
        match path.ascend()? {
            Side::Left => computed = node_hash(sibling, &computed),
            Side::Right => computed = node_hash(&computed, sibling),
        }
    }
    path.must_be_at_the_top()?;
    (computed == *root).then_some(()).ok_or(InvalidProof::Root)
}

/// Verifies that the tree of `new_size` leaves starts with all leaves of the tree of `old_size`.
///
/// # Errors
/// When it is not proven.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), InvalidProof> {
    if old_size > new_size {
        return Err(InvalidProof::OutsideTree {
            asked: old_size,
            size: new_size,
        });
    }
    if old_size == 0 || old_size == new_size {
        return verify_trivial_consistency(old_size, old_root, new_size, new_root, proof);
    }
    let mut path = Path {
        node: old_size - 1,
        last: new_size - 1,
    };
    path.skip_right_children();
    let (first, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(InvalidProof::Length)?
    };
    let (mut old, mut new) = (*first, *first);
    for sibling in rest {
        match path.ascend()? {
            Side::Left => {
                old = node_hash(sibling, &old);
                new = node_hash(sibling, &new);
            }
            Side::Right => new = node_hash(&new, sibling),
        }
    }
    path.must_be_at_the_top()?;
    if old != *old_root {
        return Err(InvalidProof::OldRoot);
    }
    (new == *new_root).then_some(()).ok_or(InvalidProof::Root)
}

/// From nothing to anything, and from a tree to itself: no hash is needed.
fn verify_trivial_consistency(
    old_size: u64,
    old_root: &Digest,
    new_size: u64,
    new_root: &Digest,
    proof: &[Digest],
) -> Result<(), InvalidProof> {
    if !proof.is_empty() {
        return Err(InvalidProof::Length);
    }
    if old_size == 0 && *old_root != empty_root() {
        return Err(InvalidProof::OldRoot);
    }
    let same = old_size != new_size || old_root == new_root;
    same.then_some(()).ok_or(InvalidProof::Root)
}

/// Where on its way up a proof stands: the node and the last node of its level.
struct Path {
    node: u64,
    last: u64,
}

/// On which side the sibling stands.
enum Side {
    Left,
    Right,
}

impl Path {
    fn ascend(&mut self) -> Result<Side, InvalidProof> {
        if self.last == 0 {
            return Err(InvalidProof::Length);
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // The last node of a level may be a left child without sibling: it rises unchanged.
            while self.node & 1 == 0 && self.node != 0 {
                self.step();
            }
            Side::Left
        } else {
            Side::Right
        };
        self.step();
        Ok(side)
    }

    fn skip_right_children(&mut self) {
        while self.node & 1 == 1 {
            self.step();
        }
    }

    fn must_be_at_the_top(&self) -> Result<(), InvalidProof> {
        (self.last == 0).then_some(()).ok_or(InvalidProof::Length)
    }

    fn step(&mut self) {
        self.node >>= 1;
        self.last >>= 1;
    }
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
