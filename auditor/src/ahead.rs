//! What can be worked out about a record without those before it: ahead of them, on all cores.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::{Arc, Mutex, PoisonError},
    thread::{Scope, ScopedJoinHandle, available_parallelism},
    vec,
};

use trust::{Content, batch::VerifiedBatches, message::KeptMessage, wire::evidence::RecordKind};
use verifiable_log::{End, Error, ReadRecord, Reader, Reading};

use crate::{certificates::VouchedCertificates, messages::kept_message, tree::Tree};

/// So many records are read at first, and twice as many each time: signatures can be verified ahead
/// once the certificates of the first are known.
const FIRST_RECORDS: usize = 8;
/// The most records that are read at a time.
const RECORDS: usize = 1024;
/// The most bytes of content that are read at a time, but for the last record.
const BYTES: usize = 16 * 1024 * 1024;
/// So many records are prepared by a thread before it takes others.
const BLOCK: usize = 32;

/// A record, ready to be checked in its turn.
pub(crate) struct PreparedRecord {
    pub(crate) read: ReadRecord,
    /// Of a message.
    pub(crate) message: Option<PreparedMessage>,
}

/// What a message is by itself.
pub(crate) struct PreparedMessage {
    /// What its header and signature say, or what is wrong with them. The signature may have been
    /// verified ahead; it counts once its certificate is known to be vouched for.
    pub(crate) kept: Result<KeptMessage, String>,
    /// Its content, hashed.
    pub(crate) content: Content,
}

/// Prepares records.
pub(crate) struct Preparation {
    certificates: Arc<VouchedCertificates>,
    batches: Arc<VerifiedBatches>,
}

impl Preparation {
    /// With the certificates and batches that an audit knows by now.
    pub(crate) const fn new(
        certificates: Arc<VouchedCertificates>,
        batches: Arc<VerifiedBatches>,
    ) -> Self {
        Self {
            certificates,
            batches,
        }
    }

    /// Prepares records on as many threads as there are cores.
    pub(crate) fn spawn<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        records: Vec<ReadRecord>,
    ) -> Preparing<'scope> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let threads = cores.min(records.len().div_ceil(BLOCK));
        let blocks = Arc::new(Mutex::new(Blocks {
            records: records.into_iter(),
            next: 0,
        }));
        let threads = (0..threads).map(|_| {
            let blocks = Arc::clone(&blocks);
            scope.spawn(move || self.prepare_blocks(&blocks))
        });
        Preparing(threads.collect())
    }

    fn prepare_blocks(&self, blocks: &Mutex<Blocks>) -> Vec<PreparedBlock> {
        let take = || blocks.lock().unwrap_or_else(PoisonError::into_inner).take();
        std::iter::from_fn(take)
            .map(|(number, block)| {
                let prepared = block.into_iter().map(|read| self.of(read));
                (number, prepared.collect())
            })
            .collect()
    }

    /// Prepares one record.
    pub(crate) fn of(&self, read: ReadRecord) -> PreparedRecord {
        let record = &read.record;
        let is_message = i32::from(record.kept.kind) == RecordKind::Message as i32;
        let message = is_message.then(|| PreparedMessage {
            kept: kept_message(record).map(|kept| self.verified(kept)),
            content: Content::received(record.content.clone()),
        });
        PreparedRecord { read, message }
    }

    fn verified(&self, mut kept: KeptMessage) -> KeptMessage {
        if let Some(certificate) = self.certificates.get(&kept.certificate_digest()) {
            kept.verify_ahead(&certificate, &self.batches);
        }
        kept
    }
}

/// Records to be prepared, from which each thread takes some at a time.
struct Blocks {
    records: vec::IntoIter<ReadRecord>,
    next: usize,
}

impl Blocks {
    fn take(&mut self) -> Option<(usize, Vec<ReadRecord>)> {
        let block: Vec<_> = self.records.by_ref().take(BLOCK).collect();
        let number = self.next;
        self.next += 1;
        (!block.is_empty()).then_some((number, block))
    }
}

/// Some records, and their place among the others.
type PreparedBlock = (usize, Vec<PreparedRecord>);

/// Records that are being prepared.
pub(crate) struct Preparing<'scope>(Vec<ScopedJoinHandle<'scope, Vec<PreparedBlock>>>);

impl Preparing<'_> {
    /// Waits for them; gives them in order.
    pub(crate) fn join(self) -> Vec<PreparedRecord> {
        let threads = self.0.into_iter();
        let blocks =
            threads.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let mut blocks: Vec<_> = blocks.flatten().collect();
        blocks.sort_unstable_by_key(|(number, _)| *number);
        blocks.into_iter().flat_map(|(_, block)| block).collect()
    }
}

/// Reads a log some records at a time.
pub(crate) struct ReadAhead<'a> {
    reader: &'a mut Reader,
    most: usize,
    end: Option<Result<End, Error>>,
}

impl<'a> ReadAhead<'a> {
    pub(crate) const fn new(reader: &'a mut Reader) -> Self {
        Self {
            reader,
            most: FIRST_RECORDS,
            end: None,
        }
    }

    /// The next records; none at the end. The tree is told of each.
    pub(crate) fn next(&mut self, tree: &mut Tree) -> Vec<ReadRecord> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while self.end.is_none() && records.len() < self.most && bytes < BYTES {
            match self.reader.read() {
                Ok(Reading::Record(read)) => {
                    tree.reached(read.record.index + 1, || self.reader.state().1);
                    bytes += read.record.content.len();
                    records.push(read);
                }
                Ok(Reading::End(end)) => self.end = Some(Ok(end)),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        self.most = RECORDS.min(self.most * 2);
        records
    }

    /// How the log ended; none if it was not read to its end.
    pub(crate) fn end(self) -> Option<Result<End, Error>> {
        self.end
    }
}
