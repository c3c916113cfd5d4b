//! Reading an open log: one record, all in order, or every byte again.

use std::sync::Arc;

use trust::{Digest, merkle::Frontier};

use crate::{
    erasure::Gone,
    error::Error,
    log::Log,
    opening::{PROGRESS, Progress},
    reader::{ReadRecord, leaf_of_record},
    record::RawRecord,
    segments,
    shared::{Shared, locked},
    walk::{Place, Step, Tail, Walk},
    window::Contents,
};

impl Log {
    /// Reads one record and verifies it against its leaf. Blocks on files.
    ///
    /// # Errors
    /// When there is no such record, it is damaged, or the views do not lead to it.
    pub fn read(&self, index: u64) -> Result<RawRecord, Error> {
        let place = self.place(index)?;
        let record = {
            let _none_is_zeroed = locked(&self.shared().zeroing);
            segments::read_at(&self.shared().storage, place, index)?
        };
        let leaf = leaf_of_record(self.shared().options.leaf_of, &record, place)?;
        if leaf.leaf() != self.leaf(index)? {
            let reason = format!("it names another record than {index}");
            return Err(self.shared().fail_views(reason));
        }
        if record.is_erased {
            self.must_be_explained(index, place)?;
        }
        Ok(record)
    }

    /// Reads records in order from `from` to the end of the log as it is now, holding one at a
    /// time. Each step blocks on files. At its end, what was read has led to the root of the log.
    ///
    /// # Errors
    /// When `from` is beyond the end, or the views do not lead to it.
    pub fn scan(&self, from: u64) -> Result<Scan, Error> {
        let shared = Arc::clone(self.shared());
        let (size, root) = shared.state();
        let storage = Arc::clone(&shared.storage);
        let (walk, read) = if from == 0 {
            let walk = Walk::start(storage, Contents::Load, shared.identity.digest)?;
            (walk, Frontier::new())
        } else {
            let last = from - 1;
            let Place { segment, batch, .. } = self.place(last)?;
            let walk = Walk::at_batch(storage, Contents::Load, segment, batch)?;
            let read = Frontier::read(&shared.flat, from);
            (
                walk,
                read.map_err(|error| shared.fail_views(error.to_string()))?,
            )
        };
        Ok(Scan {
            shared,
            walk,
            read,
            end: (size, root),
            stopped: false,
        })
    }

    /// Verifies every byte of the log from its start to its end as it is now: checksums, chain,
    /// padding, and the root. Damage stops the log. Blocks on files; for a thread of its own.
    ///
    /// # Errors
    /// When the log is damaged or cannot be read.
    pub fn scrub(&self, progress: &mut dyn FnMut(Progress)) -> Result<Progress, Error> {
        let scrubbed = self.scrub_to(self.shared().state(), progress);
        scrubbed.inspect_err(|error| self.fail_if_damaged(error))
    }

    /// Stops the log when it is certain that it is not what it was.
    pub(crate) fn fail_if_damaged(&self, error: &Error) {
        if let Error::Damaged(_) | Error::Root { .. } | Error::CheckpointNotExtended { .. } = error
        {
            self.shared().fail(error.clone());
        }
    }

    /// Proves without views that the log extends a tree it once had: reads what came after.
    pub(crate) fn segments_must_lead_to(
        &self,
        known: &Frontier,
        tree: &Frontier,
    ) -> Result<(), Error> {
        let storage = Arc::clone(&self.shared().storage);
        let firsts = segments::segments(&storage)?;
        let reached = firsts.into_iter().rev().find(|it| *it <= known.size());
        let mut walk = Walk::at_segment(storage, Contents::Check, reached.unwrap_or(0))?;
        let (mut read, size) = (known.clone(), tree.size());
        while walk.index() < size {
            let is_new = walk.index() >= read.size();
            let leaf = self.next_leaf(&mut walk, size, &mut Gone::default())?;
            if is_new {
                read.append(leaf);
            }
        }
        (read == *tree).then_some(()).ok_or(Error::Root { size })
    }

    fn scrub_to(
        &self,
        (size, root): (u64, Digest),
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Progress, Error> {
        let storage = Arc::clone(&self.shared().storage);
        let mut walk = Walk::start(storage, Contents::Check, self.shared().identity.digest)?;
        let (mut frontier, mut gone) = (Frontier::new(), Gone::default());
        let reached = |walk: &Walk| {
            let (bytes, of_bytes) = walk.progress();
            Progress {
                records: walk.index(),
                bytes,
                of_bytes,
            }
        };
        while frontier.size() < size {
            frontier.append(self.next_leaf(&mut walk, size, &mut gone)?);
            if frontier.size().is_multiple_of(PROGRESS) {
                progress(reached(&walk));
            }
        }
        if frontier.root() != root {
            return Err(Error::Root { size });
        }
        // What was destroyed meanwhile is explained by records that came later.
        for (index, place) in gone.unexplained() {
            self.must_be_explained(index, place)?;
        }
        Ok(reached(&walk))
    }

    /// The leaf of the next record, of which there must be `size`.
    fn next_leaf(&self, walk: &mut Walk, size: u64, gone: &mut Gone) -> Result<Digest, Error> {
        let (record, place) = match self.shared().step(walk)? {
            Step::Record(record, place) => (record, place),
            // What was synced is not torn by any crash.
            Step::End(tail) => {
                return Err(tail.torn.map_or(Error::Root { size }, |torn| {
                    Error::Damaged(walk.damage(torn.offset, torn.fault))
                }));
            }
        };
        gone.pass(&record, place);
        Ok(leaf_of_record(self.shared().options.leaf_of, &record, place)?.leaf())
    }

    fn place(&self, index: u64) -> Result<Place, Error> {
        let size = self.size();
        if index >= size {
            return Err(Error::NoRecord { index, size });
        }
        self.shared().views_must_be_usable()?;
        let place = self.shared().flat.place(index);
        place.map_err(|error| self.shared().fail_views(error.to_string()))
    }
}

/// Records in order, up to the size that the log had when the scan began.
pub struct Scan {
    shared: Arc<Shared>,
    walk: Walk,
    /// The tree over all that was passed.
    read: Frontier,
    /// The size and root to come to.
    end: (u64, Digest),
    stopped: bool,
}

impl Scan {
    fn step(&mut self) -> Result<ReadRecord, Error> {
        loop {
            match self.shared.step(&mut self.walk)? {
                Step::Record(record, _) if record.index < self.read.size() => {}
                Step::Record(record, place) => {
                    let leaf = leaf_of_record(self.shared.options.leaf_of, &record, place)?;
                    self.read.append(leaf.leaf());
                    return Ok(ReadRecord { record, leaf });
                }
                Step::End(Tail { index, .. }) => {
                    let size = index;
                    return Err(Error::NoRecord { index, size });
                }
            }
        }
    }
}

impl Iterator for Scan {
    type Item = Result<ReadRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let (size, root) = self.end;
        if self.stopped {
            return None;
        }
        if self.read.size() < size {
            let step = self.step();
            self.stopped = step.is_err();
            return Some(step);
        }
        self.stopped = true;
        (self.read.root() != root).then_some(Err(Error::Root { size }))
    }
}
