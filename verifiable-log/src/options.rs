//! What the owner of a log decides: how its records are understood, and the sizes of its files.

use std::sync::Arc;

use bytes::Bytes;

use crate::{error::Error, format::BLOCK, record::LeafOf};

/// Makes the annex of a local record of this kind: time, configuration in force, fresh salt.
pub type AnnexOf = Arc<dyn Fn(u8) -> Bytes + Send + Sync>;
/// Makes a random id for a segment; none if there is no randomness.
pub type SegmentIdOf = fn() -> Option<[u8; 16]>;

/// How a log is kept.
#[derive(Clone)]
pub struct Options {
    /// Computes leaves when the log is read.
    pub leaf_of: LeafOf,
    /// Makes the annexes of the records that the log itself appends.
    pub annex_of: AnnexOf,
    /// Makes the ids of segments.
    pub segment_id_of: SegmentIdOf,
    /// The length of a segment file in bytes, a multiple of 512. A larger batch gets a segment of
    /// its own size.
    pub segment_size: u64,
    /// The space held for closing records and checkpoints when the disk is full.
    pub reserve_size: u64,
    /// The most records that wait to be written.
    pub queue_records: usize,
    /// The most bytes that wait to be written.
    pub queue_bytes: u64,
}

impl Options {
    /// The usual sizes.
    #[must_use]
    pub fn new(leaf_of: LeafOf, annex_of: AnnexOf) -> Self {
        Self {
            leaf_of,
            annex_of,
            segment_id_of: random_segment_id,
            segment_size: 16 * 1024 * 1024,
            reserve_size: 8 * 1024 * 1024,
            queue_records: 4096,
            queue_bytes: 128 * 1024 * 1024,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let largest = 1 << 30;
        if !self.segment_size.is_multiple_of(BLOCK) || self.segment_size < 2 * BLOCK {
            return Err(Error::Options(
                "segment_size must be a multiple of 512, at least 1024",
            ));
        }
        if self.segment_size > largest || self.reserve_size > largest {
            return Err(Error::Options(
                "segment_size and reserve_size are at most a gibibyte",
            ));
        }
        if self.queue_records == 0 || self.queue_bytes == 0 {
            return Err(Error::Options("the queue has no room"));
        }
        Ok(())
    }
}

fn random_segment_id() -> Option<[u8; 16]> {
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(id)
}
