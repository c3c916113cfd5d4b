//! The one writer: gathers what waits into a batch, writes it, syncs it, then gives receipts.

use std::{sync::Arc, thread, time::Instant};

use aws_lc_rs::digest::{Context, SHA256};
use durable::{BlockBuffer, File};
use trust::merkle::Frontier;

use crate::{
    error::{AppendError, Error},
    flat::Additions,
    format::{
        BATCH_HEADER, BLOCK, BatchHeader, Chain, SegmentHeader, SegmentId, block_after,
        segment_name,
    },
    queue::Arrivals,
    record::{Receipt, Record},
    segments,
    shared::Shared,
    waiting::{Frame, Waiting, length_of, refuse_all, tell_all},
    walk::{Place, Tail, finish},
};

/// A batch grows to this many bytes while records wait; more go into the next one.
const FULL_BATCH: u64 = 4 * 1024 * 1024;
/// The most bytes that are appended together.
pub(crate) const MAX_TOGETHER: u64 = 128 * 1024 * 1024;
/// How often others are let run before a batch is written.
const MOST_YIELDS: usize = 16;
/// The most records in one batch.
pub(crate) const MAX_RECORDS: usize = 65_536;

/// The end of the log and the file it is in.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    segment: SegmentHeader,
    file: Box<dyn File>,
    offset: u64,
    previous: Chain,
    frontier: Frontier,
    buffer: BlockBuffer,
}

/// Makes the first segment of a log, or the one after `previous`.
pub(crate) fn new_segment_header(
    segment_id_of: fn() -> Option<SegmentId>,
    first: u64,
    length: u64,
    previous_id: SegmentId,
    previous: Chain,
) -> Result<SegmentHeader, Error> {
    Ok(SegmentHeader {
        id: segment_id_of().ok_or(Error::Random)?,
        first,
        length,
        previous_id,
        previous,
    })
}

impl Writer {
    /// Goes on at the end that was found, which must not be torn.
    pub(crate) fn new(shared: Arc<Shared>, tail: Tail, frontier: Frontier) -> Result<Self, Error> {
        let file = open_segment(&shared, tail.segment.first)?;
        Ok(Self {
            shared,
            file,
            segment: tail.segment,
            offset: tail.offset,
            previous: tail.previous,
            frontier,
            buffer: BlockBuffer::default(),
        })
    }

    /// Writes until nobody can append any more, or the log fails.
    pub(crate) fn run(mut self, mut arrivals: Arrivals) {
        let _fails = FailsByPanic(Arc::clone(&self.shared));
        while let Some(first) = arrivals.wait() {
            let batch = Some(self.frontier.size());
            self.shared.writing().send_replace(batch);
            let group = self.gather(first, &mut arrivals);
            arrivals.note(group.len());
            let failure = self.shared.must_not_have_failed().err();
            match failure.clone() {
                None => self.write_group(group),
                Some(error) => refuse_all(group, &AppendError::Failed(error)),
            }
            self.shared.writing().send_replace(None);
            if failure.is_some() {
                break;
            }
        }
        arrivals.close();
        let failed = self.shared.refused_by_failure();
        while let Some(waiting) = arrivals.wait() {
            waiting.refuse(failed.clone());
        }
    }

    /// Takes all that waits, as far as it makes one batch. What does not fit is put back.
    ///
    /// When it is crowded, or more than one waits, others are about to append, too, and run before
    /// the batch is written if the processors are busy with them: one sync, and one signature of
    /// what they sign meanwhile, then serves more. It is no wait for anybody: where a processor is
    /// idle, and for a caller alone, the batch is written at once.
    fn gather(&self, first: Waiting, arrivals: &mut Arrivals) -> Vec<Waiting> {
        let mut length = BATCH_HEADER as u64 + first.length();
        let mut records = first.frames.len();
        // The rest of the segment is used before a new one is begun.
        let room = self.segment.length - self.offset;
        let whole = self.shared.options.segment_size - BLOCK;
        let limit = if length <= room { room } else { whole }.min(FULL_BATCH);
        let mut group = vec![first];
        let mut found = usize::from(!arrivals.is_crowded());
        for _ in 0..=MOST_YIELDS {
            while let Some(next) = arrivals.next() {
                length += next.length();
                records += next.frames.len();
                if length > limit || records > MAX_RECORDS {
                    arrivals.put_back(next);
                    return group;
                }
                group.push(next);
            }
            if group.len() == found {
                break;
            }
            found = group.len();
            thread::yield_now();
        }
        group
    }

    fn write_group(&mut self, group: Vec<Waiting>) {
        let group = match self.make_room(group) {
            Ok(group) if group.is_empty() => return,
            Ok(group) => group,
            Err((group, error)) => {
                let error = self.shared.fail(error);
                return refuse_all(group, &AppendError::Failed(error));
            }
        };
        let frames: Vec<&Frame> = group.iter().flat_map(|waiting| &waiting.frames).collect();
        let first = self.frontier.size();
        match self.write(&frames) {
            Err(error) => {
                let error = self.shared.fail(error);
                refuse_all(group, &AppendError::Failed(error));
            }
            Ok(()) => Self::give_receipts(first, group),
        }
    }

    fn give_receipts(first: u64, group: Vec<Waiting>) {
        let mut index = first;
        let mut receipts_of = |waiting: &Waiting| {
            let receipts = waiting.frames.iter().map(|frame| {
                let receipt = Receipt::new(index, frame.leaf);
                index += 1;
                receipt
            });
            receipts.collect()
        };
        let told = group.into_iter().map(|waiting| {
            let receipts = receipts_of(&waiting);
            (waiting, receipts)
        });
        tell_all(told.collect());
    }

    /// Makes room for a group. On a full disk, refuses those of it that may not use the reserve.
    fn make_room(&mut self, group: Vec<Waiting>) -> Result<Vec<Waiting>, (Vec<Waiting>, Error)> {
        let (closing, ordinary): (Vec<_>, Vec<_>) =
            group.into_iter().partition(|waiting| waiting.reserved);
        let (closing, ordinary) = if ordinary.is_empty() {
            (closing, ordinary)
        } else {
            let all: Vec<_> = ordinary.into_iter().chain(closing).collect();
            match self.room_for(length_of(&all), false) {
                Ok(true) => return Ok(all),
                Ok(false) => all.into_iter().partition(|waiting| waiting.reserved),
                Err(error) => return Err((all, error)),
            }
        };
        refuse_all(ordinary, &AppendError::DiskFull);
        if closing.is_empty() {
            return Ok(closing);
        }
        match self.room_for(length_of(&closing), true) {
            Ok(true) => Ok(closing),
            Ok(false) => {
                refuse_all(closing, &AppendError::DiskFull);
                Ok(Vec::new())
            }
            Err(error) => Err((closing, error)),
        }
    }

    /// Makes sure that a batch of this length fits; false on a full disk.
    fn room_for(&mut self, length: u64, reserved: bool) -> Result<bool, Error> {
        let shared = Arc::clone(&self.shared);
        let (storage, reserve) = (&shared.storage, &shared.reserve);
        if !reserved && reserve.is_released() && !reserve.restore(storage)? {
            return Ok(false);
        }
        let needed = block_after(length);
        if self.offset + needed <= self.segment.length {
            return Ok(true);
        }
        let usual = (BLOCK + needed).max(shared.options.segment_size);
        let small = (BLOCK + needed).max(reserve.segment_size() / BLOCK * BLOCK);
        let mut made = self.begin_segment(usual);
        if reserved && made.as_ref().is_err_and(Error::is_disk_full) {
            made = reserve.draw(storage, || self.begin_segment(small));
        }
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.is_disk_full() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Begins the next segment. If nothing stands in this one yet, the new one takes its place.
    fn begin_segment(&mut self, length: u64) -> Result<(), Error> {
        let first = self.frontier.size();
        let replaces = first == self.segment.first;
        let previous_id = if replaces {
            self.segment.previous_id
        } else {
            self.segment.id
        };
        let id_of = self.shared.options.segment_id_of;
        let header = new_segment_header(id_of, first, length, previous_id, self.previous)?;
        let name = segment_name(first);
        let storage = &self.shared.storage;
        let created = storage.create(&name, &mut header.encode().as_slice(), length);
        if let Err(error) = created {
            // If the new segment is there although making it failed, the log must not go on in the
            // old one: the new one says where that ended, or has taken its name.
            let goes_on = if replaces {
                segments::open_segment(storage, first)
                    .is_ok_and(|(_, found)| found.id == self.segment.id)
            } else {
                segments::segments(storage).is_ok_and(|firsts| !firsts.contains(&first))
            };
            let error = if goes_on {
                error
            } else {
                std::io::Error::other(error)
            };
            return Err(Error::storage(format!("making {name}"))(error));
        }
        self.file = open_segment(&self.shared, first)?;
        (self.segment, self.offset) = (header, BLOCK);
        Ok(())
    }

    /// Writes one batch and syncs it: the commit point of every record in it. There must be room.
    fn write(&mut self, frames: &[&Frame]) -> Result<(), Error> {
        let header = BatchHeader {
            id: self.segment.id,
            first: self.frontier.size(),
            previous: self.previous,
        }
        .encode();
        let mut hash = Context::new(&SHA256);
        hash.update(&header);
        let mut parts = vec![header.as_slice()];
        let mut end = self.offset + header.len() as u64;
        let mut additions = Additions::after(&self.frontier);
        for frame in frames {
            let place = Place {
                segment: self.segment.first,
                batch: self.offset,
                frame: end,
            };
            additions.push(&mut self.frontier, frame.leaf, place);
            for part in frame.hashed() {
                hash.update(part);
                parts.push(part);
            }
            parts.extend(frame.content.iter().map(AsRef::<[u8]>::as_ref));
            end += frame.length();
        }

        let name = segment_name(self.segment.first);
        self.buffer
            .write(&*self.file, parts, self.offset)
            .map_err(Error::storage(format!("writing {name}")))?;
        let syncing = Instant::now();
        self.file
            .sync()
            .map_err(Error::storage(format!("syncing {name}")))?;
        metrics::histogram!("lienthong_log_sync_seconds").record(syncing.elapsed());
        metrics::histogram!("lienthong_log_batch_records").record(frames.len() as f64);

        self.offset = block_after(end);
        self.previous = Chain {
            end,
            hash: finish(hash),
        };
        // Nobody is told of a record before it can be read and proven.
        if self.shared.views_must_be_usable().is_ok()
            && let Err(error) = self.shared.flat.write(&additions)
        {
            self.shared.fail_views(error.to_string());
        }
        self.shared.publish(&self.frontier);
        Ok(())
    }

    /// Appends records of the log itself while it is being opened.
    pub(crate) fn append_at_start(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let frames = records
            .into_iter()
            .map(Frame::of)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Error::Options("annex_of makes annexes that are too long"))?;
        let length = BATCH_HEADER as u64 + frames.iter().map(Frame::length).sum::<u64>();
        if !self.room_for(length, true)? {
            let full = std::io::ErrorKind::StorageFull.into();
            return Err(Error::storage("writing what opening found")(full));
        }
        self.write(&frames.iter().collect::<Vec<_>>())
    }
}

/// Tells the owner when the thread of the writer panics: nobody else would notice while no record
/// is appended.
struct FailsByPanic(Arc<Shared>);

impl Drop for FailsByPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(Error::WriterStopped);
            // Whoever waits for the batch is told by the failure of what follows.
            self.0.writing().send_replace(None);
        }
    }
}

fn open_segment(shared: &Shared, first: u64) -> Result<Box<dyn File>, Error> {
    let name = segment_name(first);
    shared
        .storage
        .open_blocks(&name)
        .map_err(Error::storage(format!("opening {name}")))
}
