//! Records that wait to be written, with everything computed that does not depend on their position.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use trust::Digest;

use crate::{
    error::AppendError,
    format::{BATCH_HEADER, FrameHeader},
    record::{KeptPart, Receipt, Record},
};

/// A record with everything computed that does not depend on its position.
pub(crate) struct Frame {
    header: Vec<u8>,
    kept: KeptPart,
    pub(crate) content: Vec<Bytes>,
    pub(crate) leaf: Digest,
    length: u64,
}

impl Frame {
    /// Checks a record and computes its checksums and leaf.
    pub(crate) fn of(record: Record) -> Result<Self, AppendError> {
        record.check_lengths()?;
        let header = FrameHeader::of(&record.kept, &record.content);
        let leaf = record.leaf_preimage().leaf();
        let Record { kept, content, .. } = record;
        Ok(Self {
            length: header.length(),
            header: header.encode(&[&kept.header, &kept.signature, &kept.annex]),
            kept,
            content,
            leaf,
        })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// What the hash of a batch covers.
    pub(crate) fn hashed(&self) -> [&[u8]; 4] {
        let kept = &self.kept;
        [&self.header, &kept.header, &kept.signature, &kept.annex]
    }
}

/// Records that wait to be written, and who waits for them.
pub(crate) struct Waiting {
    pub(crate) frames: Vec<Frame>,
    /// Closing records, which may use the reserve of a full disk.
    pub(crate) reserved: bool,
    pub(crate) reply: oneshot::Sender<Result<Told, AppendError>>,
    /// Room in the queue, given back when this is dropped.
    pub(crate) _room: OwnedSemaphorePermit,
}

impl Waiting {
    pub(crate) fn length(&self) -> u64 {
        length_of_frames(&self.frames)
    }

    pub(crate) fn refuse(self, error: AppendError) {
        // Whoever no longer waits does not need to know.
        self.reply.send(Err(error)).ok();
    }
}

/// The receipts of one who waited.
pub(crate) struct Told {
    pub(crate) receipts: Vec<Receipt>,
    /// Of the first of a group: what the others are told.
    pub(crate) others: Others,
}

/// The receipts of the others of a group, who are told when this is dropped.
///
/// Whoever is told first wakes them, among the tasks of its own thread: to wake each from the
/// writer's thread takes a lock and perhaps a system call. If it no longer waits, this is dropped all
/// the same.
#[derive(Default)]
pub(crate) struct Others(Vec<(Waiting, Vec<Receipt>)>);

/// Tells each of a group of its receipts.
pub(crate) fn tell_all(group: Vec<(Waiting, Vec<Receipt>)>) {
    let mut group = group.into_iter();
    if let Some((first, receipts)) = group.next() {
        let others = Others(group.collect());
        // Whoever no longer waits does not need it: the record is there.
        first.reply.send(Ok(Told { receipts, others })).ok();
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for (waiting, receipts) in self.0.drain(..) {
            let others = Self::default();
            waiting.reply.send(Ok(Told { receipts, others })).ok();
        }
    }
}

/// How long frames are together.
pub(crate) fn length_of_frames(frames: &[Frame]) -> u64 {
    frames.iter().map(Frame::length).sum()
}

/// How long a batch of all of it is.
pub(crate) fn length_of(group: &[Waiting]) -> u64 {
    BATCH_HEADER as u64 + group.iter().map(Waiting::length).sum::<u64>()
}

pub(crate) fn refuse_all(group: Vec<Waiting>, error: &AppendError) {
    for waiting in group {
        waiting.refuse(error.clone());
    }
}
