//! Appends records and remembers them: what is remembered is what is in the log, at any time.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proto::recollection as wire;
use trust::{Digest, Reason, Refusal};
use verifiable_log::{AppendError, Receipt, Record};

use super::{Recorder, support::Support};
use crate::recollection::Recollection;

/// A record, and when it was made, in milliseconds since 1970 (UTC).
pub(super) struct Made {
    pub(super) record: Record,
    pub(super) at: i64,
}

/// The last record that was appended.
pub(super) struct Appended {
    pub(super) receipt: Receipt,
    pub(super) annex_digest: Digest,
}

/// Notes that the task which appends was ended: its record may be in the log, and nobody remembers.
struct CutOff<'a>(Option<&'a AtomicBool>);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        if let Some(was_cut_off) = self.0 {
            was_cut_off.store(true, Ordering::Release);
        }
    }
}

impl Recorder {
    /// All that is remembered of the log as it is now, to be kept; none if something was recorded
    /// that nobody remembers. Blocks until what is being recorded is.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn to_keep(&self) -> Result<Option<wire::Recollection>, verifiable_log::Error> {
        let _none_is_under_way = self.remembering.blocking_write();
        if self.was_cut_off.load(Ordering::Acquire) {
            return Ok(None);
        }
        let size = self.log.size();
        Ok(Some(wire::Recollection {
            origin: self.log.origin().to_string(),
            size,
            root: self.log.root_at(size)?.to_bytes(),
            ..self.recollection().to_keep()
        }))
    }

    /// Appends records, made now, after those that support them and are not in the log yet.
    pub(super) async fn append_supported(
        &self,
        support: &[Support<'_>],
        made: impl Iterator<Item = Result<Made, Refusal>>,
        remember: impl FnOnce(&mut Recollection, &Appended),
    ) -> Result<Appended, Refusal> {
        let mut records = Vec::with_capacity(support.len());
        let mut waiting = None;
        if support.iter().any(|support| self.lacks(support)) {
            waiting = Some(self.supporting.lock().await);
            for support in support {
                records.append(&mut self.missing(support));
            }
        }
        for made in made {
            records.push(made?);
        }
        let appended = self.append(records, remember).await?;
        if waiting.is_some() {
            for support in support {
                self.note_kept(support);
            }
        }
        Ok(appended)
    }

    /// Appends records next to each other.
    pub(super) async fn append(
        &self,
        made: Vec<Made>,
        remember: impl FnOnce(&mut Recollection, &Appended),
    ) -> Result<Appended, Refusal> {
        let at = made.iter().map(|made| made.at).max().unwrap_or(i64::MIN);
        let annex = made.last().map(|made| made.record.kept.annex.clone());
        let records = made.into_iter().map(|made| made.record).collect();
        let appended = async {
            let receipts = self.log.append_all(records).await?;
            receipts.into_iter().last().ok_or(AppendError::Closed)
        };
        self.remembered(appended, annex, at, remember).await
    }

    /// Appends a record that ends something, even when the disk is full.
    pub(super) async fn append_reserved(
        &self,
        Made { record, at }: Made,
        remember: impl FnOnce(&mut Recollection, &Appended),
    ) -> Result<Appended, Refusal> {
        let annex = Some(record.kept.annex.clone());
        let appended = self.log.append_reserved(record);
        self.remembered(appended, annex, at, remember).await
    }

    async fn remembered(
        &self,
        appended: impl Future<Output = Result<Receipt, AppendError>>,
        annex: Option<Bytes>,
        at: i64,
        remember: impl FnOnce(&mut Recollection, &Appended),
    ) -> Result<Appended, Refusal> {
        let _under_way = self.remembering.read().await;
        let mut cut_off = CutOff(Some(&self.was_cut_off));
        let receipt = appended.await;
        cut_off.0 = None;
        let appended = Appended {
            receipt: receipt.map_err(|error| unavailable(&error))?,
            annex_digest: Digest::of(&annex.unwrap_or_default()),
        };
        let mut recollection = self.recollection();
        recollection.took_time(at.div_euclid(1000));
        remember(&mut recollection, &appended);
        Ok(appended)
    }
}

fn unavailable(error: &AppendError) -> Refusal {
    tracing::error!(%error, "the message log does not take a record");
    Refusal::new(
        Reason::LogUnavailable,
        "the message log of this server takes no records",
    )
}
