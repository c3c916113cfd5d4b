//! Reads records in order from a log that somebody else may be writing.

use crate::{
    error::Error,
    walk::{Step, Walk},
};

/// A walk that goes on where the log goes on.
pub(crate) struct Following {
    walk: Walk,
    /// The index of the next record; the walk may stand before it.
    next: u64,
}

impl Following {
    /// From record `next` on; the walk stands at it or before.
    pub(crate) const fn new(walk: Walk, next: u64) -> Self {
        Self { walk, next }
    }

    pub(crate) const fn walk(&self) -> &Walk {
        &self.walk
    }

    /// The next record, or the end of the log as it is now.
    pub(crate) fn read(&mut self) -> Result<Step, Error> {
        match self.step() {
            // A batch that was half written when it was read and is whole now, or a new segment,
            // looks like damage or an end: what stands there is read once more.
            Err(Error::Damaged(_)) | Ok(Step::End(_)) => {
                self.walk.look_again()?;
                self.step()
            }
            outcome => outcome,
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        loop {
            match self.walk.step()? {
                // Read before, and going back to the start of its batch.
                Step::Record(record, _) if record.index < self.next => {}
                Step::Record(record, place) => {
                    self.next = record.index + 1;
                    return Ok(Step::Record(record, place));
                }
                end @ Step::End(_) => return Ok(end),
            }
        }
    }
}
