//! What can be worked out about a record without those before it: ahead of them, on all cores.

use std::{
    num::NonZero,
    panic::resume_unwind,
    sync::Arc,
    thread::{Scope, ScopedJoinHandle, available_parallelism},
};

use trust::{Content, batch::VerifiedBatches, message::KeptMessage, wire::evidence::RecordKind};
use verifiable_log::{End, Error, ReadRecord, Reader, Reading};

use crate::{certificates::VouchedCertificates, messages::kept_message, tree::Tree};

/// So many records are read at a time, or fewer when they are long. Logs of tests are short: there,
/// too, most of a log is to be prepared ahead.
const RECORDS: usize = if cfg!(debug_assertions) { 8 } else { 1024 };
/// The most bytes of content that are read at a time, but for the last record.
const BYTES: usize = 16 * 1024 * 1024;

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
        mut records: Vec<ReadRecord>,
    ) -> Preparing<'scope> {
        let cores = available_parallelism().map_or(1, NonZero::get);
        let share = records.len().div_ceil(cores).max(1);
        let mut parts = Vec::with_capacity(cores);
        while !records.is_empty() {
            let rest = records.split_off(share.min(records.len()));
            let part = std::mem::replace(&mut records, rest).into_iter();
            parts.push(scope.spawn(|| part.map(|read| self.of(read)).collect()));
        }
        Preparing(parts)
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

/// Records that are being prepared, in order.
pub(crate) struct Preparing<'scope>(Vec<ScopedJoinHandle<'scope, Vec<PreparedRecord>>>);

impl Preparing<'_> {
    /// Waits for them.
    pub(crate) fn join(self) -> Vec<PreparedRecord> {
        let parts = self.0.into_iter();
        let parts = parts.map(|part| part.join().unwrap_or_else(|panic| resume_unwind(panic)));
        parts.flatten().collect()
    }
}

/// Reads a log some records at a time.
pub(crate) struct ReadAhead<'a> {
    reader: &'a mut Reader,
    end: Option<Result<End, Error>>,
}

impl<'a> ReadAhead<'a> {
    pub(crate) const fn new(reader: &'a mut Reader) -> Self {
        Self { reader, end: None }
    }

    /// The next records; none at the end. The tree is told of each.
    pub(crate) fn next(&mut self, tree: &mut Tree) -> Vec<ReadRecord> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while self.end.is_none() && records.len() < RECORDS && bytes < BYTES {
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
        records
    }

    /// How the log ended; none if it was not read to its end.
    pub(crate) fn end(self) -> Option<Result<End, Error>> {
        self.end
    }
}
