//! The inclusion of several leaves proven together: each hash that two of them need is given once.
//!
//! The tree is walked from its root, left before right. A subtree without any of the leaves gives
//! its root to the proof; a leaf gives nothing, since the verifier has it. For one leaf these are
//! the hashes of its RFC 6962 inclusion proof, from left to right.

use std::slice;

use super::{Hashes, InvalidProof, ProofError, node_hash, range_root, split};
use crate::Digest;

/// The proof that the leaves at `indices` (ascending) are in the tree of the first `size` leaves.
///
/// # Errors
/// When there is no such leaf, the indices do not ascend, or the source fails.
pub fn joint_proof<H: Hashes + ?Sized>(
    hashes: &H,
    indices: &[u64],
    size: u64,
) -> Result<Vec<Digest>, ProofError<H::Error>> {
    if let Some(asked) = outside(indices.iter().copied(), size) {
        return Err(ProofError::OutsideTree { asked, size });
    }
    let mut proof = Vec::new();
    if size > 0 {
        prove(hashes, indices, 0, size, &mut proof).map_err(ProofError::Source)?;
    }
    Ok(proof)
}

fn prove<H: Hashes + ?Sized>(
    hashes: &H,
    indices: &[u64],
    start: u64,
    end: u64,
    proof: &mut Vec<Digest>,
) -> Result<(), H::Error> {
    if indices.is_empty() {
        proof.push(range_root(hashes, start, end)?);
    } else if end - start > 1 {
        let middle = start + split(end - start);
        let (left, right) = indices.split_at(indices.partition_point(|index| *index < middle));
        prove(hashes, left, start, middle, proof)?;
        prove(hashes, right, middle, end, proof)?;
    }
    Ok(())
}

/// Verifies that these leaves, by ascending index, are in the tree with `size` leaves and this root.
///
/// # Errors
/// When it is not proven.
pub fn verify_joint_inclusion(
    leaves: &[(u64, Digest)],
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), InvalidProof> {
    if let Some(asked) = outside(leaves.iter().map(|(index, _)| *index), size) {
        return Err(InvalidProof::OutsideTree { asked, size });
    }
    let mut rest = proof.iter();
    let computed = compute(leaves, 0, size, &mut rest)?;
    if rest.next().is_some() {
        return Err(InvalidProof::Length);
    }
    (computed == *root).then_some(()).ok_or(InvalidProof::Root)
}

/// Each level halves the range, so the recursion is at most 64 deep; each hash of the proof and
/// each leaf is looked at once.
fn compute(
    leaves: &[(u64, Digest)],
    start: u64,
    end: u64,
    proof: &mut slice::Iter<'_, Digest>,
) -> Result<Digest, InvalidProof> {
    match leaves {
        [] => proof.next().copied().ok_or(InvalidProof::Length),
        [(_, leaf)] if end - start == 1 => Ok(*leaf),
        _ => {
            let middle = start + split(end - start);
            let (left, right) = leaves.split_at(leaves.partition_point(|(at, _)| *at < middle));
            let left = compute(left, start, middle, proof)?;
            let right = compute(right, middle, end, proof)?;
            Ok(node_hash(&left, &right))
        }
    }
}

/// The first index that does not follow the one before it, or is not in the tree.
fn outside(indices: impl Iterator<Item = u64>, size: u64) -> Option<u64> {
    let mut least = Some(0);
    for index in indices {
        if index >= size || least.is_none_or(|least| index < least) {
            return Some(index);
        }
        least = index.checked_add(1);
    }
    None
}
