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
        let mut damage = None;
        let mut looked_again = false;
        loop {
            match self.step() {
                // While the log is written, what was read a moment apart need not fit: a batch half
                // written, a new segment, two batches more. Damage is what stays where it was.
                Err(Error::Damaged(found)) if damage.as_ref() != Some(&found) => {
                    damage = Some(found);
                }
                Ok(Step::End(_)) if !looked_again => {}
                outcome => return outcome,
            }
            self.walk.look_again()?;
            looked_again = true;
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
