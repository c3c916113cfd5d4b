//! Walks over the segments of a log, record by record, and verifies every byte it passes.

mod end;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use trust::Digest;

use crate::{
    error::{Damage, Error, Fault},
    format::{
        BATCH_HEADER, BLOCK, BatchHeader, Chain, SegmentHeader, SegmentId, block_after, is_zero,
    },
    record::RawRecord,
    segments::{open_segment, reading, segments},
    storage::Storage,
    window::{Contents, Frame, FrameAt, Window},
};

pub(crate) use end::Tail;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The segment, by its first record.
    pub(crate) segment: u64,
    /// The offset of the batch in it.
    pub(crate) batch: u64,
    /// The offset of the frame.
    pub(crate) frame: u64,
}

/// What the walk came to.
pub(crate) enum Step {
    /// A whole record.
    Record(RawRecord, Place),
    /// The end of the log; the walk can go on from there when more was written.
    End(Tail),
}

/// A position in the log from which records are read in order.
pub(crate) struct Walk {
    storage: Arc<Storage>,
    contents: Contents,
    segments: Vec<u64>,
    window: Window,
    segment: SegmentHeader,
    batch: Option<Batch>,
    /// Where the newest batch of the segment that was passed starts.
    last_batch: u64,
    /// Where a later batch of the segment is known to start; zero if none is.
    later_batch: u64,
    /// The next frame, or the start of the next batch.
    offset: u64,
    index: u64,
    previous: Chain,
    /// How often contents had been zeroed when the window was read.
    zeroed: u64,
}

struct Batch {
    start: u64,
    records: u64,
    hash: Context,
}

impl Walk {
    /// From the first record of the log; `identity` is the digest of its identity file.
    pub(crate) fn start(
        storage: Arc<Storage>,
        contents: Contents,
        identity: Digest,
    ) -> Result<Self, Error> {
        let walk = Self::at_segment(storage, contents, 0)?;
        let previous = Chain {
            end: 0,
            hash: identity,
        };
        if walk.segment.previous_id != SegmentId::default() || walk.previous != previous {
            let fault = Fault::Chain("the identity of this log");
            return Err(Error::Damaged(walk.damage(0, fault)));
        }
        Ok(walk)
    }

    /// From the first record of a segment, whose header is believed.
    pub(crate) fn at_segment(
        storage: Arc<Storage>,
        contents: Contents,
        first: u64,
    ) -> Result<Self, Error> {
        let segments = segments(&storage)?;
        if !segments.contains(&first) {
            let damage = Damage {
                segment: first,
                offset: 0,
                index: first,
                fault: Fault::MissingSegment { expected: first },
            };
            return Err(Error::Damaged(damage));
        }
        let (window, segment) = open_segment(&storage, first)?;
        Ok(Self {
            storage,
            contents,
            segments,
            window,
            batch: None,
            last_batch: BLOCK,
            later_batch: 0,
            offset: BLOCK,
            index: segment.first,
            previous: segment.previous,
            zeroed: 0,
            segment,
        })
    }

    /// From the batch at `offset` of a segment, whose header is believed.
    pub(crate) fn at_batch(
        storage: Arc<Storage>,
        contents: Contents,
        segment: u64,
        offset: u64,
    ) -> Result<Self, Error> {
        let mut walk = Self::at_segment(storage, contents, segment)?;
        if offset != BLOCK {
            walk.offset = offset;
            let header = walk
                .window
                .batch_header(offset, &walk.segment.id)
                .map_err(reading(segment))?
                .map_err(|fault| Error::Damaged(walk.damage(offset, fault)))?;
            walk.index = header.first;
            walk.previous = header.previous;
        }
        Ok(walk)
    }

    /// Forgets what was read before contents were zeroed for the last time.
    pub(crate) fn forget_before(&mut self, zeroed: u64) {
        if self.zeroed != zeroed {
            self.zeroed = zeroed;
            self.window.forget();
        }
    }

    /// Verifies contents from here on.
    pub(crate) const fn check_contents(&mut self) {
        self.contents = Contents::Check;
    }

    /// The index of the next record.
    pub(crate) const fn index(&self) -> u64 {
        self.index
    }

    /// How many bytes of the log lie before this position, and how many there are.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let here = self
            .segments
            .partition_point(|first| *first < self.segment.first) as u64;
        let length = self.segment.length;
        (
            here * length + self.offset,
            self.segments.len() as u64 * length,
        )
    }

    /// The next record or the end.
    pub(crate) fn step(&mut self) -> Result<Step, Error> {
        loop {
            let Some(batch) = &self.batch else {
                match self.enter_batch()? {
                    Entered::Batch => continue,
                    Entered::Nothing if self.is_last() => return Ok(Step::End(self.tail(None))),
                    Entered::Nothing => self.enter_next_segment()?,
                    Entered::Bad(fault) => return self.stop(fault),
                }
                continue;
            };
            let (start, is_first) = (batch.start, batch.records == 0);
            let frame = FrameAt::read(
                &mut self.window,
                self.offset,
                &self.segment.id,
                self.contents,
            )
            .map_err(reading(self.segment.first))?;
            match frame {
                // Zeros may be what a crash has left, as long as nothing was written after them.
                FrameAt::Record(frame) if frame.is_gone && self.may_be_torn()? => {
                    return self.stop(Fault::ContentChecksum);
                }
                FrameAt::Record(frame) => return Ok(self.pass(frame, start)),
                FrameAt::End if is_first => return self.stop(Fault::EmptyBatch),
                FrameAt::End => {
                    if let Some(fault) = self.leave_batch()? {
                        return self.stop(fault);
                    }
                }
                FrameAt::Bad(fault) => return self.stop(fault),
            }
        }
    }

    /// Looks again at a log that somebody else is writing: for new segments and changed bytes.
    /// Goes back to the start of the batch it stands in.
    pub(crate) fn look_again(&mut self) -> Result<(), Error> {
        self.segments = segments(&self.storage)?;
        let (window, segment) = open_segment(&self.storage, self.segment.first)?;
        (self.window, self.segment) = (window, segment);
        if let Some(batch) = self.batch.take() {
            self.offset = batch.start;
            self.index -= batch.records;
        }
        self.window.forget();
        Ok(())
    }

    /// What is wrong at `offset`.
    pub(crate) const fn damage(&self, offset: u64, fault: Fault) -> Damage {
        Damage {
            segment: self.segment.first,
            offset,
            index: self.index,
            fault,
        }
    }

    fn is_last(&self) -> bool {
        self.segments.last() == Some(&self.segment.first)
    }

    fn pass(&mut self, frame: Frame, batch: u64) -> Step {
        let place = Place {
            segment: self.segment.first,
            batch,
            frame: self.offset,
        };
        if let Some(batch) = &mut self.batch {
            frame.hashed.iter().for_each(|part| batch.hash.update(part));
            batch.records += 1;
        }
        let record = RawRecord {
            index: self.index,
            kept: frame.kept,
            content: frame.content,
            content_length: frame.content_length,
            is_erased: frame.is_gone,
        };
        self.offset += frame.length;
        self.index += 1;
        Step::Record(record, place)
    }

    fn enter_batch(&mut self) -> Result<Entered, Error> {
        let failed = reading(self.segment.first);
        let bytes = match self.window.slice(self.offset, BATCH_HEADER) {
            Ok(bytes) => bytes,
            Err(error) => return Err(failed(error)),
        };
        if is_zero(bytes) {
            let length = self.window.length();
            let rest = self.window.first_nonzero(self.offset, length);
            return Ok(match rest.map_err(failed)? {
                None => Entered::Nothing,
                Some(_) => Entered::Bad(Fault::BytesAfterEnd),
            });
        }
        let header = match BatchHeader::decode(bytes) {
            Ok(header) => header,
            Err(fault) => return Ok(Entered::Bad(fault)),
        };
        if header.id != self.segment.id {
            return Ok(Entered::Bad(Fault::BatchHeader("it is of another segment")));
        }
        self.follows(header.first, header.previous)
            .map_err(|fault| Error::Damaged(self.damage(self.offset, fault)))?;
        let mut hash = Context::new(&SHA256);
        hash.update(&header.encode());
        self.last_batch = self.offset;
        self.batch = Some(Batch {
            start: self.offset,
            records: 0,
            hash,
        });
        self.offset += BATCH_HEADER as u64;
        Ok(Entered::Batch)
    }

    /// A whole header was written only after what it names was synced: a difference is damage.
    fn follows(&self, first: u64, previous: Chain) -> Result<(), Fault> {
        let other = if first != self.index {
            "the number of records"
        } else if previous.end != self.previous.end {
            "the end of the previous batch"
        } else if previous.hash != self.previous.hash {
            "the hash of the previous batch"
        } else {
            return Ok(());
        };
        Err(Fault::Chain(other))
    }

    fn leave_batch(&mut self) -> Result<Option<Fault>, Error> {
        let end = block_after(self.offset).min(self.window.length());
        let padding = self
            .window
            .first_nonzero(self.offset, end)
            .map_err(reading(self.segment.first))?;
        if padding.is_some() {
            return Ok(Some(Fault::Padding));
        }
        if let Some(batch) = self.batch.take() {
            self.previous = Chain {
                end: self.offset,
                hash: finish(batch.hash),
            };
        }
        self.offset = end;
        Ok(None)
    }

    fn enter_next_segment(&mut self) -> Result<(), Error> {
        let after = self
            .segments
            .partition_point(|first| *first <= self.segment.first);
        let Some(next) = self.segments.get(after).copied() else {
            return Ok(());
        };
        if next != self.index {
            let damage = Damage {
                segment: next,
                offset: 0,
                index: self.index,
                fault: Fault::MissingSegment {
                    expected: self.index,
                },
            };
            return Err(Error::Damaged(damage));
        }
        let (window, segment) = open_segment(&self.storage, next)?;
        let follows = if segment.previous_id == self.segment.id {
            self.follows(segment.first, segment.previous)
        } else {
            Err(Fault::Chain("the previous segment"))
        };
        follows.map_err(|fault| {
            Error::Damaged(Damage {
                segment: next,
                offset: 0,
                index: next,
                fault,
            })
        })?;
        (self.window, self.segment) = (window, segment);
        (self.last_batch, self.later_batch, self.offset) = (BLOCK, 0, BLOCK);
        Ok(())
    }
}

enum Entered {
    Batch,
    Nothing,
    Bad(Fault),
}

pub(crate) fn finish(context: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest::from(bytes)
}
