//! Proving records: what a log answers from its views.
//!
//! Views are derived and could be wrong. A proof is verified against the root of the synced log
//! before it is given out; a view that does not lead to that root is used no more.

use trust::{
    Digest,
    checkpoint::Checkpoint,
    merkle::{self, Frontier, Hashes, InvalidProof, ProofError},
};

use crate::{error::Error, log::Log};

impl Log {
    /// The root of the log when it had `size` records. Blocks on files.
    ///
    /// # Errors
    /// When the log is smaller, or a view is not usable.
    pub fn root_at(&self, size: u64) -> Result<Digest, Error> {
        let (now, root_now) = self.shared().state();
        if size == now {
            return Ok(root_now);
        }
        let proof = self.consistency_to(size, now)?;
        let root = self.or_fail_views(merkle::root(&self.shared().flat, size))?;
        self.verified(merkle::verify_consistency(
            size, &root, now, &root_now, &proof,
        ))?;
        Ok(root)
    }

    /// The leaf hash of a record. Blocks on files.
    ///
    /// # Errors
    /// When there is no such record, or a view is not usable.
    pub fn leaf(&self, index: u64) -> Result<Digest, Error> {
        self.must_have(index.saturating_add(1))?;
        self.shared().views_must_be_usable()?;
        self.or_fail_views(self.shared().flat.subtree(0, index))
    }

    /// The proof that record `index` is in the log of `size` records. Blocks on files.
    ///
    /// # Errors
    /// When there is no such record or size, or a view is not usable.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, Error> {
        let root = self.root_at(size)?;
        let leaf = self.leaf(index)?;
        let proof = self.proof(merkle::inclusion_proof(&self.shared().flat, index, size))?;
        self.verified(merkle::verify_inclusion(&leaf, index, size, &proof, &root))?;
        Ok(proof)
    }

    /// The leaves at `indices` (ascending), and the proof that all of them are in the log of `size`
    /// records. Blocks on files.
    ///
    /// # Errors
    /// When there is no such record or size, or a view is not usable.
    pub fn joint_inclusion(
        &self,
        indices: &[u64],
        size: u64,
    ) -> Result<(Vec<Digest>, Vec<Digest>), Error> {
        let root = self.root_at(size)?;
        let leaves: Result<Vec<_>, _> = indices.iter().map(|index| self.leaf(*index)).collect();
        let leaves = leaves?;
        let proof = self.proof(merkle::joint_proof(&self.shared().flat, indices, size))?;
        let proven: Vec<_> = indices
            .iter()
            .copied()
            .zip(leaves.iter().copied())
            .collect();
        self.verified(merkle::verify_joint_inclusion(&proven, size, &proof, &root))?;
        Ok((leaves, proof))
    }

    /// The proof that the log of `new` records extends that of `old`. Blocks on files.
    ///
    /// # Errors
    /// When there are no such sizes, or a view is not usable.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, Error> {
        let (old_root, new_root) = (self.root_at(old)?, self.root_at(new)?);
        let proof = self.consistency_to(old, new)?;
        self.verified(merkle::verify_consistency(
            old, &old_root, new, &new_root, &proof,
        ))?;
        Ok(proof)
    }

    /// The hashes of a tile (C2SP tlog-tiles): `width` hashes from `index` * 256 on, at `level`,
    /// which counts in steps of eight. Whoever fetches it verifies it. Blocks on files.
    ///
    /// # Errors
    /// When the log does not reach that far, or a view is not usable.
    pub fn tile(&self, level: u8, index: u64, width: u16) -> Result<Vec<u8>, Error> {
        let size = self.size();
        let level = level.saturating_mul(8);
        let start = index.checked_mul(256);
        let width = u64::from(width);
        let end = start.and_then(|start| start.checked_add(width));
        let reached = size.checked_shr(level.into()).unwrap_or(0);
        match (start, end) {
            (Some(start), Some(end)) if (1..=256).contains(&width) && end <= reached => {
                self.shared().views_must_be_usable()?;
                self.or_fail_views(self.shared().flat.hashes(level, start, width))
            }
            _ => Err(Error::NoRecord { index, size }),
        }
    }

    /// Proves by the views that the tree extends a checkpoint; those that do not are used no more.
    pub(crate) fn views_lead_to(&self, last: &Checkpoint, tree: &Frontier) -> Result<(), Error> {
        let proof = self.consistency_to(last.size, tree.size())?;
        self.verified(merkle::verify_consistency(
            last.size,
            &last.root,
            tree.size(),
            &tree.root(),
            &proof,
        ))
    }

    /// The proof as the views have it, not yet verified.
    fn consistency_to(&self, old: u64, new: u64) -> Result<Vec<Digest>, Error> {
        self.must_have(new)?;
        self.shared().views_must_be_usable()?;
        self.proof(merkle::consistency_proof(&self.shared().flat, old, new))
    }

    fn or_fail_views<T>(&self, read: std::io::Result<T>) -> Result<T, Error> {
        read.map_err(|error| self.shared().fail_views(error.to_string()))
    }

    fn proof<T>(&self, made: Result<T, ProofError<std::io::Error>>) -> Result<T, Error> {
        made.map_err(|error| match error {
            ProofError::OutsideTree { asked, size } => Error::NoRecord { index: asked, size },
            ProofError::Source(error) => self.shared().fail_views(error.to_string()),
        })
    }

    fn verified(&self, outcome: Result<(), InvalidProof>) -> Result<(), Error> {
        outcome.map_err(|error| self.shared().fail_views(error.to_string()))
    }

    fn must_have(&self, size: u64) -> Result<(), Error> {
        let now = self.size();
        if size > now {
            return Err(Error::NoRecord {
                index: size - 1,
                size: now,
            });
        }
        Ok(())
    }
}
