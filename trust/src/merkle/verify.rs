//! Verifies inclusion and consistency proofs (RFC 9162, 2.1.3.2 and 2.1.4.2).

use super::{empty_root, node_hash};
use crate::Digest;

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
    let computed = root_of_inclusion(leaf, index, size, proof)?;
    (computed == *root).then_some(()).ok_or(InvalidProof::Root)
}

/// The root to which an inclusion proof leads from `leaf` as leaf `index` of `size`.
///
/// # Errors
/// When the proof has not as many hashes as such a tree needs.
pub fn root_of_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
) -> Result<Digest, InvalidProof> {
    let mut computed = *leaf;
    climb(index, size, proof, |side, sibling| {
        computed = match side {
            Side::Left => node_hash(sibling, &computed),
            Side::Right => node_hash(&computed, sibling),
        };
    })?;
    Ok(computed)
}

/// Goes up an inclusion proof of leaf `index` of `size`, and tells each hash with its side.
///
/// # Errors
/// When the proof has not as many hashes as such a tree needs.
pub fn climb(
    index: u64,
    size: u64,
    proof: &[Digest],
    mut step: impl FnMut(Side, &Digest),
) -> Result<(), InvalidProof> {
    if index >= size {
        return Err(InvalidProof::OutsideTree { asked: index, size });
    }
    let mut path = Path {
        node: index,
        last: size - 1,
    };
    for sibling in proof {
        step(path.ascend()?, sibling);
    }
    path.must_be_at_the_top()
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

/// On which side of the way up a sibling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It is hashed before what comes from below.
    Left,
    /// It is hashed behind it.
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
