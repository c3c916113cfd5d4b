//! Where a log ends: what stands there, and whether a crash may have left it.

use super::{Step, Walk, finish};
use crate::{
    error::{Error, Fault},
    format::{BATCH_HEADER, BLOCK, Chain, SegmentHeader, block_after},
    segments::reading,
};

/// The end of a log: what a writer needs to go on, and what stands there that is no record.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    /// The index of the next record.
    pub(crate) index: u64,
    /// The last segment.
    pub(crate) segment: SegmentHeader,
    /// Where the last batch of the segment starts, or would.
    pub(crate) last_batch: u64,
    /// Where the next batch starts.
    pub(crate) offset: u64,
    /// What its header will say of the batch before.
    pub(crate) previous: Chain,
    /// The remains of a batch that was not written to its end.
    pub(crate) torn: Option<Torn>,
}

/// Where the last batch stops being whole.
#[derive(Debug, Clone)]
pub(crate) struct Torn {
    pub(crate) offset: u64,
    pub(crate) fault: Fault,
}

impl Walk {
    /// Something stands here that is no whole batch: the end of the log if nothing later was
    /// written, else damage. Every batch was synced before a later one was written.
    pub(super) fn stop(&mut self, fault: Fault) -> Result<Step, Error> {
        if !self.may_be_torn()? {
            return Err(Error::Damaged(self.damage(self.offset, fault)));
        }
        let offset = match &self.batch {
            Some(batch) if batch.records == 0 => batch.start,
            _ => self.offset,
        };
        Ok(Step::End(self.tail(Some(Torn { offset, fault }))))
    }

    /// Whether nothing was written after this batch.
    pub(super) fn may_be_torn(&mut self) -> Result<bool, Error> {
        if !self.is_last() || self.later_batch > self.offset {
            return Ok(false);
        }
        let later = self.later_batch().map_err(reading(self.segment.first))?;
        Ok(!later)
    }

    /// Whether a whole batch header of this segment stands at a later boundary, where its own
    /// words put it. Records are not looked for: what content says is nobody's evidence.
    fn later_batch(&mut self) -> std::io::Result<bool> {
        let mut offset = block_after(self.offset + 1);
        while offset + (BATCH_HEADER as u64) <= self.window.length() {
            if let Ok(header) = self.window.batch_header(offset, &self.segment.id)?
                && header.first >= self.index
                && header.previous.end.checked_next_multiple_of(BLOCK) == Some(offset)
            {
                self.later_batch = offset;
                return Ok(true);
            }
            offset += BLOCK;
        }
        Ok(false)
    }

    pub(super) fn tail(&self, torn: Option<Torn>) -> Tail {
        let (offset, previous) = match &self.batch {
            Some(batch) if batch.records > 0 => {
                let hash = finish(batch.hash.clone());
                let end = self.offset;
                (block_after(end), Chain { end, hash })
            }
            Some(batch) => (batch.start, self.previous),
            None => (self.offset, self.previous),
        };
        Tail {
            index: self.index,
            segment: self.segment.clone(),
            last_batch: self.last_batch,
            offset,
            previous,
            torn,
        }
    }
}
