//! Writes the message log: messages with everything that an auditor needs to verify them.

mod support;

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use trust::{
    Digest, Reason, Refusal, ServerId,
    configuration::StateKey,
    header::Direction,
    message::SignedMessage,
    replay::{check_exchange_time, check_freshness, reference_time},
    wire::evidence::{
        Annex, Change, ClockAccepted, Closing, PeerCheckpoint, RecordKind, RefusedAction,
        SecurityEvent, Stage,
    },
};
use verifiable_log::{AppendError, KeptPart, Log, Receipt, Record};

use crate::{certificates::KnownCertificate, clock::SharedClock, random, snapshot::Snapshot};
use support::{Kept, Support};

/// A message to be recorded, and what this server says about it.
pub(crate) struct MessageRecord<'a> {
    pub(crate) message: &'a SignedMessage,
    /// The configuration by which it was made or decided.
    pub(crate) snapshot: &'a Snapshot,
    /// The certificate it was signed with.
    pub(crate) certificate: &'a KnownCertificate,
    pub(crate) stage: Stage,
    pub(crate) peer_certificate: Option<&'a Digest>,
    /// "accepted" or the refusal code.
    pub(crate) decision: &'a str,
    /// Index of the record of the right that allowed it.
    pub(crate) right: Option<u64>,
    pub(crate) keep_content: bool,
}

/// The one door to the message log.
pub(crate) struct Recorder {
    log: Log,
    clock: SharedClock,
    server: ServerId,
    generation: u32,
    kept: Mutex<Kept>,
    /// Seconds since 1970 (UTC) of the newest record.
    newest: AtomicI64,
    /// Held while supporting records are written, so that nobody relies on them too early.
    supporting: tokio::sync::Mutex<()>,
}

impl Recorder {
    /// `newest` is the time of the newest record in the log, in seconds since 1970 (UTC).
    pub(crate) fn new(
        log: Log,
        clock: SharedClock,
        (server, generation): (ServerId, u32),
        newest: i64,
    ) -> Self {
        Self {
            newest: AtomicI64::new(newest),
            log,
            clock,
            server,
            generation,
            kept: Mutex::default(),
            supporting: tokio::sync::Mutex::new(()),
        }
    }

    /// The log itself.
    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// Seconds since 1970 (UTC) of the newest record, as the clock is measured against it.
    pub(crate) fn newest_record(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// Measures the clock against this time from now on, after an operator's recorded decision.
    pub(crate) fn accept_clock(&self, clock: i64) {
        self.newest.store(clock, Ordering::Release);
    }

    /// The time of a record that is made now, in milliseconds since 1970 (UTC).
    fn record_time(&self) -> i64 {
        self.took_time(self.clock.milliseconds())
    }

    fn took_time(&self, now: i64) -> i64 {
        self.newest
            .fetch_max(now.div_euclid(1000), Ordering::AcqRel);
        now
    }

    /// The same for a message. It was made or judged by an earlier reading of the clock, which may
    /// have been set since: what no longer fits is not recorded, since no auditor would accept it.
    fn message_time(&self, record: &MessageRecord<'_>) -> Result<i64, Refusal> {
        let header = record.message.header();
        let now = self.clock.milliseconds();
        let reference = reference_time(now.div_euclid(1000), self.newest_record())?;
        if record.stage == Stage::Sent {
            check_freshness(header.created_at, now.div_euclid(1000)).map_err(|_| {
                let what = "the clock was set while a message was being signed";
                Refusal::new(Reason::ClockSet, what)
            })?;
        } else if header.direction == Direction::Request && header.sequence == 0 {
            check_freshness(header.created_at, reference)?;
            check_exchange_time(&header.parties.exchange, reference)?;
        }
        Ok(self.took_time(now))
    }

    /// Whether the log takes records.
    pub(crate) fn takes_records(&self) -> bool {
        self.log.failed().now_or_never().is_none()
    }

    /// Records messages together, after the evidence that supports them. Gives the receipt and the
    /// digest of the annex of the last one once all are on disk.
    ///
    /// # Errors
    /// `LogUnavailable`; when the clock was set meanwhile `ClockBehind`, `ClockSet` or `StaleMessage`.
    pub(crate) async fn record(
        &self,
        messages: &[MessageRecord<'_>],
    ) -> Result<(Receipt, Digest), Refusal> {
        let unsupported = messages
            .iter()
            .filter(|message| !self.is_supported(message));
        let support: Vec<_> = unsupported
            .map(|message| self.message_support(message))
            .collect();
        let records = messages.iter().map(|message| self.message_record(message));
        let recorded = self.append_supported(&support, records).await?;
        if !support.is_empty() {
            self.note_supported(messages);
        }
        Ok(recorded)
    }

    /// Records what another server proved of its log, after the proof of that log's key.
    pub(crate) async fn record_peer_checkpoint(
        &self,
        given: &PeerCheckpoint,
        snapshot: &Snapshot,
        key: Option<StateKey>,
    ) -> Result<(), Refusal> {
        let support = Support {
            snapshot,
            keys: key.into_iter().collect(),
            certificate: None,
        };
        let record = std::iter::once_with(|| Ok(self.local(RecordKind::PeerCheckpoint, given)));
        self.append_supported(&[support], record).await.map(drop)
    }

    /// Records what an operator asked for and was refused.
    pub(crate) async fn record_refused_action(
        &self,
        refused: &RefusedAction,
    ) -> Result<(), Refusal> {
        self.append(vec![self.local(RecordKind::RefusedAction, refused)])
            .await
            .map(drop)
    }

    /// Records a change of the local state; gives its index.
    pub(crate) async fn record_changes(&self, changes: &[Change]) -> Result<Receipt, Refusal> {
        let records = changes
            .iter()
            .map(|change| self.local(RecordKind::Change, change));
        self.append(records.collect()).await
    }

    /// Records how an exchange ended that has no final reply. Uses the reserve when the disk is
    /// full.
    pub(crate) async fn record_closing(&self, closing: &Closing) -> Result<(), Refusal> {
        let record = self.local(RecordKind::Closing, closing);
        self.log
            .append_reserved(record)
            .await
            .map(drop)
            .map_err(|error| unavailable(&error))
    }

    /// Records something refused before it could be evidence.
    pub(crate) async fn record_security(&self, event: &SecurityEvent) -> Result<(), Refusal> {
        self.append(vec![self.local(RecordKind::Security, event)])
            .await
            .map(drop)
    }

    /// Records that an operator accepted the clock.
    pub(crate) async fn record_clock(&self, accepted: &ClockAccepted) -> Result<(), Refusal> {
        self.append(vec![self.local(RecordKind::Clock, accepted)])
            .await
            .map(drop)
    }

    /// Appends records, made now, after those that support them and are not in the log yet. Gives
    /// the receipt and the digest of the annex of the last one.
    async fn append_supported(
        &self,
        support: &[Support<'_>],
        made: impl Iterator<Item = Result<Record, Refusal>>,
    ) -> Result<(Receipt, Digest), Refusal> {
        let mut records = Vec::with_capacity(support.len());
        let mut waiting = None;
        if support.iter().any(|support| self.lacks(support)) {
            waiting = Some(self.supporting.lock().await);
            for support in support {
                records.append(&mut self.missing(support));
            }
        }
        for record in made {
            records.push(record?);
        }
        let annex = records.last().map(|record| record.kept.annex.clone());
        let receipt = self.append(records).await?;
        if waiting.is_some() {
            for support in support {
                self.note_kept(support);
            }
        }
        Ok((receipt, Digest::of(&annex.unwrap_or_default())))
    }

    async fn append(&self, records: Vec<Record>) -> Result<Receipt, Refusal> {
        let mut receipts = self
            .log
            .append_all(records)
            .await
            .map_err(|error| unavailable(&error))?;
        receipts
            .pop()
            .ok_or_else(|| Refusal::new(Reason::LogUnavailable, "the message log gave no receipt"))
    }

    fn message_record(&self, record: &MessageRecord<'_>) -> Result<Record, Refusal> {
        let message = record.message;
        let head = record.snapshot.configuration().head();
        let annex = Annex {
            kind: RecordKind::Message.into(),
            stage: record.stage.into(),
            received_at: self.message_time(record)?,
            configuration_serial: head.serial(),
            head_digest: head.digest().to_bytes(),
            certificate_digest: record.certificate.facts.digest.to_bytes(),
            ocsp_digests: Vec::new(),
            peer_certificate_digest: record
                .peer_certificate
                .map(|digest| digest.to_bytes())
                .unwrap_or_default(),
            decision: record.decision.to_owned(),
            access_right: record.right,
            subject_hash: Bytes::new(),
            salt: salt(),
        };
        Ok(Record {
            kept: KeptPart {
                kind: RecordKind::Message as u8,
                header: message.header_bytes().clone(),
                signature: message.signature().encode_to_vec().into(),
                annex: annex.encode_to_vec().into(),
            },
            message_digest: message.digest(),
            signature_digest: Digest::of(message.signature_value()),
            content: if record.keep_content {
                vec![message.content().bytes().clone()]
            } else {
                Vec::new()
            },
        })
    }

    fn local(&self, kind: RecordKind, body: &impl Message) -> Record {
        self.local_bytes(kind, body.encode_to_vec().into())
    }

    fn local_bytes(&self, kind: RecordKind, body: Bytes) -> Record {
        Record::local(kind as u8, body, local_annex(kind, self.record_time()))
    }
}

/// The annex of a local record made at a time in milliseconds since 1970 (UTC).
pub(crate) fn local_annex(kind: RecordKind, at: i64) -> Bytes {
    Annex {
        kind: kind.into(),
        stage: Stage::Local.into(),
        received_at: at,
        salt: salt(),
        ..Annex::default()
    }
    .encode_to_vec()
    .into()
}

fn salt() -> Bytes {
    Bytes::copy_from_slice(&random::bytes::<16>())
}

fn unavailable(error: &AppendError) -> Refusal {
    tracing::error!(%error, "the message log does not take a record");
    Refusal::new(
        Reason::LogUnavailable,
        "the message log of this server takes no records",
    )
}
