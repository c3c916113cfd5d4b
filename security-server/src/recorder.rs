//! Writes the message log: messages with everything that an auditor needs to verify them.

mod appending;
mod support;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt;
use prost::Message;
use trust::{
    Digest, Reason, Refusal, ServerId,
    configuration::StateKey,
    header::{Direction, Parties},
    message::SignedMessage,
    replay::{check_exchange_time, check_freshness, reference_time},
    subject::Subjects,
    wire::evidence::{
        Annex, Change, ClockAccepted, Closing, PeerCheckpoint, RecordKind, RefusedAction,
        SecurityEvent, Stage,
    },
};
use verifiable_log::{KeptPart, Log, Receipt, Record};

use crate::{
    certificates::KnownCertificate,
    clock::SharedClock,
    local_state::LocalState,
    peer_log::PeerLogs,
    random,
    recollection::{Recollection, RecordedMessage},
    snapshot::Snapshot,
};
use appending::{Appended, Made};
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
    /// Whom it is about.
    pub(crate) subjects: Subjects,
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
    recollection: Mutex<Recollection>,
    /// Shared by all that append and then remember; held alone by whoever keeps what is remembered,
    /// so that no record is in the log and not in that.
    remembering: tokio::sync::RwLock<()>,
    /// A task was ended in between.
    was_cut_off: AtomicBool,
}

impl Recorder {
    /// `recollection` is what is remembered of all that is in the log.
    pub(crate) fn new(
        log: Log,
        clock: SharedClock,
        (server, generation): (ServerId, u32),
        recollection: Recollection,
    ) -> Self {
        Self {
            newest: AtomicI64::new(recollection.newest_record()),
            log,
            clock,
            server,
            generation,
            kept: Mutex::default(),
            supporting: tokio::sync::Mutex::new(()),
            recollection: Mutex::new(recollection),
            remembering: tokio::sync::RwLock::new(()),
            was_cut_off: AtomicBool::new(false),
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

    /// What is hosted and allowed here.
    pub(crate) fn local_state(&self) -> Arc<LocalState> {
        Arc::clone(self.recollection().local_state())
    }

    /// What other servers promised and proved of their logs.
    pub(crate) fn peer_logs(&self) -> Arc<PeerLogs> {
        Arc::clone(self.recollection().peer_logs())
    }

    /// Remembers an exchange before its first request is recorded.
    ///
    /// # Errors
    /// `Replayed` or `Busy`.
    pub(crate) fn remember(&self, parties: &Parties, reference: i64) -> Result<(), Refusal> {
        self.recollection()
            .remember(&parties.client, parties.exchange, reference)
    }

    /// What is remembered; held for a moment, never across an await.
    fn recollection(&self) -> MutexGuard<'_, Recollection> {
        self.recollection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
        let remember = |recollection: &mut Recollection, _: &Appended| {
            for message in messages {
                recollection.message(&message.as_recorded());
            }
        };
        let appended = self.append_supported(&support, records, remember).await?;
        if !support.is_empty() {
            self.note_supported(messages);
        }
        Ok((appended.receipt, appended.annex_digest))
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
        self.append_supported(&[support], record, |recollection, _| {
            recollection.peer_log(given);
        })
        .await
        .map(drop)
    }

    /// Records what an operator asked for and was refused.
    pub(crate) async fn record_refused_action(
        &self,
        refused: &RefusedAction,
    ) -> Result<(), Refusal> {
        let record = self.local(RecordKind::RefusedAction, refused);
        self.append(vec![record], |_, _| ()).await.map(drop)
    }

    /// Records changes of the local state, which were tried out before, and puts them in force.
    pub(crate) async fn record_changes(&self, changes: &[Change]) -> Result<(), Refusal> {
        let records = changes
            .iter()
            .map(|change| self.local(RecordKind::Change, change));
        let mut changed = Ok(());
        let remember = |recollection: &mut Recollection, appended: &Appended| {
            // The records stand one after the other, since they were recorded together.
            let first = appended.receipt.index() + 1 - changes.len() as u64;
            changed = recollection.changes(first, changes);
        };
        self.append(records.collect(), remember).await?;
        changed.map_err(|error| {
            let what = format!("the changes are recorded and cannot be put in force: {error}");
            Refusal::new(Reason::LogUnavailable, what)
        })
    }

    /// Records how an exchange ended that has no final reply. Uses the reserve when the disk is
    /// full.
    pub(crate) async fn record_closing(&self, closing: &Closing) -> Result<(), Refusal> {
        let record = self.local(RecordKind::Closing, closing);
        self.append_reserved(record, |recollection, _| recollection.closing(closing))
            .await
            .map(drop)
    }

    /// Records something refused before it could be evidence.
    pub(crate) async fn record_security(&self, event: &SecurityEvent) -> Result<(), Refusal> {
        let record = self.local(RecordKind::Security, event);
        self.append(vec![record], |_, _| ()).await.map(drop)
    }

    /// Records that an operator accepted the clock, and measures the clock against that from now
    /// on.
    pub(crate) async fn record_clock(&self, accepted: &ClockAccepted) -> Result<(), Refusal> {
        let record = self.local(RecordKind::Clock, accepted);
        self.append(vec![record], |recollection, _| {
            recollection.clock_accepted(accepted);
            self.newest.store(accepted.clock, Ordering::Release);
        })
        .await
        .map(drop)
    }

    fn message_record(&self, record: &MessageRecord<'_>) -> Result<Made, Refusal> {
        let message = record.message;
        let head = record.snapshot.configuration().head();
        let at = self.message_time(record)?;
        let hashes = record.subjects.hashes.iter();
        let annex = Annex {
            kind: RecordKind::Message.into(),
            stage: record.stage.into(),
            received_at: at,
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
            subject_hash: hashes.map(|hash| hash.to_bytes()).collect(),
            salt: salt(),
            subjects_unread: record
                .subjects
                .unread
                .map(|why| why.name().to_owned())
                .unwrap_or_default(),
        };
        let record = Record {
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
        };
        Ok(Made { record, at })
    }

    fn local(&self, kind: RecordKind, body: &impl Message) -> Made {
        self.local_bytes(kind, body.encode_to_vec().into())
    }

    fn local_bytes(&self, kind: RecordKind, body: Bytes) -> Made {
        let at = self.record_time();
        let record = Record::local(kind as u8, body, local_annex(kind, at));
        Made { record, at }
    }
}

impl MessageRecord<'_> {
    fn as_recorded(&self) -> RecordedMessage<'_> {
        RecordedMessage {
            header: self.message.header(),
            stage: self.stage,
            digest: self.message.digest(),
            signature_digest: Digest::of(self.message.signature_value()),
        }
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
