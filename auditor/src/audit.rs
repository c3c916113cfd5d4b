//! The audit of a whole log: one pass over its records, from the first to the end as it is now.

use std::{path::Path, sync::Arc, thread};

use prost::Message;
use trust::{
    Digest, ServerId,
    batch::VerifiedBatches,
    checkpoint::Origin,
    configuration::Anchor,
    leaf::LeafPreimage,
    wire::evidence::{Annex, RecordKind},
};
use verifiable_log::{End, Error, InvalidRecord, KeptPart, RawRecord, ReadRecord, Reader};

use crate::{
    ahead::{Preparation, PreparedMessage, PreparedRecord, ReadAhead},
    certificates::RecordedCertificates,
    check::Check,
    configuration::RecordedConfiguration,
    contents::Contents,
    exchanges::Exchanges,
    files::{self, TornRecords},
    local_records::{self, LocalRecord},
    messages::{self, Evidence},
    peer_logs::PeerLogs,
    report::Report,
    rights::LocalState,
    times::{Moment, Times, seconds},
    tree::Tree,
};

/// Progress is told after so many records.
const PROGRESS: u64 = 1024;

/// There is nothing that could be audited.
#[derive(Debug, thiserror::Error)]
pub enum NotAudited {
    /// There is no log, or it cannot be opened.
    #[error("there is no log to audit in {path}")]
    Unreadable {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// It is a log of something else.
    #[error("{path} is the log {origin}; only message logs of security servers are audited")]
    OtherLog {
        /// The folder.
        path: std::path::PathBuf,
        /// Whose log it is.
        origin: Origin,
    },
}

/// Audits the log in a folder, also while its server is writing it, trusting nothing but the
/// anchor. `at` is the time of the audit in seconds since 1970 (UTC); `progress` is told how many
/// records were read.
///
/// # Errors
/// When there is no message log. Whatever is wrong with one is in the report.
pub fn audit(
    folder: &Path,
    anchor: &Anchor,
    at: i64,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, NotAudited> {
    let mut report = Report::default();
    let opened = Reader::open(folder, any_leaf_of);
    let mut reader = match opened {
        Ok(reader) => reader,
        Err(error @ (Error::Absent | Error::Storage { .. })) => {
            return Err(NotAudited::Unreadable {
                path: folder.into(),
                source: error,
            });
        }
        Err(error @ Error::Identity(_)) => {
            report.facts.log = folder.display().to_string();
            report.log_failed(Check::Identity, files::in_words(&error));
            return Ok(report);
        }
        Err(error) => {
            report.facts.log = folder.display().to_string();
            files::report_error(&mut report, 0, &error);
            return Ok(report);
        }
    };
    let keeper = reader
        .origin()
        .server()
        .ok_or_else(|| NotAudited::OtherLog {
            path: folder.into(),
            origin: reader.origin().clone(),
        })?;
    report.facts.log = reader.origin().to_string();
    report.held(Check::Identity);
    // Read before the records: whatever it covers was on disk then.
    let checkpoint = reader.checkpoint().unwrap_or_else(|error| {
        report.log_failed(Check::Checkpoint, files::in_words(&error));
        None
    });
    let audit = Audit::new(report, anchor, keeper, Tree::new(checkpoint), at);
    Ok(audit.run(&mut reader, progress))
}

/// What is known of the log so far.
pub(crate) struct Audit {
    pub(crate) report: Report,
    /// The server whose log this is, and its generation.
    pub(crate) keeper: (ServerId, u32),
    pub(crate) origin: Origin,
    pub(crate) tree: Tree,
    pub(crate) torn: TornRecords,
    pub(crate) configuration: RecordedConfiguration,
    pub(crate) certificates: RecordedCertificates,
    pub(crate) contents: Contents,
    pub(crate) times: Times,
    batches: Arc<VerifiedBatches>,
    pub(crate) exchanges: Exchanges,
    pub(crate) peer_logs: PeerLogs,
    pub(crate) local_state: LocalState,
}

impl Audit {
    pub(crate) fn new(
        report: Report,
        anchor: &Anchor,
        keeper: (ServerId, u32),
        tree: Tree,
        at: i64,
    ) -> Self {
        Self {
            report,
            origin: Origin::of_server(&keeper.0, keeper.1),
            keeper,
            tree,
            torn: TornRecords::default(),
            configuration: RecordedConfiguration::new(anchor),
            certificates: RecordedCertificates::default(),
            contents: Contents::default(),
            times: Times::new(at),
            batches: Arc::default(),
            exchanges: Exchanges::default(),
            peer_logs: PeerLogs::default(),
            local_state: LocalState::default(),
        }
    }

    fn run(mut self, reader: &mut Reader, progress: &mut dyn FnMut(u64)) -> Report {
        let preparation = self.preparation();
        let mut reading = ReadAhead::new(reader);
        let mut prepared = Vec::<PreparedRecord>::new();
        let mut read = reading.next(&mut self.tree);
        while !(prepared.is_empty() && read.is_empty()) {
            // While these are checked in order, what stands after them is prepared on other cores.
            (prepared, read) = thread::scope(|scope| {
                let preparing = preparation.spawn(scope, read);
                for record in prepared {
                    let size = record.read.record.index + 1;
                    self.report.held(Check::Records);
                    self.record(record);
                    if size.is_multiple_of(PROGRESS) {
                        progress(size);
                    }
                }
                let read = reading.next(&mut self.tree);
                (preparing.join(), read)
            });
        }
        let end = reading.end().and_then(|end| {
            let read = self.report.facts.records;
            end.map_err(|error| files::report_error(&mut self.report, read, &error))
                .ok()
        });
        self.finish(reader, end)
    }

    /// What prepares records for this audit.
    pub(crate) fn preparation(&self) -> Preparation {
        let certificates = Arc::clone(self.certificates.vouched_so_far());
        Preparation::new(certificates, Arc::clone(&self.batches))
    }

    fn finish(mut self, reader: &Reader, end: Option<End>) -> Report {
        let report = &mut self.report;
        let is_whole = end.is_some();
        if let Some(damage) = end.and_then(|end| end.unfinished) {
            files::note_unfinished(report, &damage);
        }
        self.torn.compare(report, reader);
        self.tree
            .finish(report, &self.configuration, &self.keeper, is_whole);
        self.contents.finish(report);
        self.times.finish(report);
        self.exchanges.finish(report);
        self.peer_logs.finish(report);
        report.facts.newest_serial = self.configuration.newest_serial();
        self.report
    }

    pub(crate) fn record(&mut self, prepared: PreparedRecord) {
        let PreparedRecord { read, message } = prepared;
        let record = &read.record;
        let index = record.index;
        self.report.facts.records += 1;
        let kind = RecordKind::try_from(i32::from(record.kept.kind));
        let kind = kind.unwrap_or(RecordKind::Unspecified);
        if has_leaf(&read) {
            self.report.held(Check::Leaves);
        } else {
            // Why is said by the check of its form.
            self.report.unchecked(Check::Leaves);
            self.tree.without_leaf();
        }
        let annex = Annex::decode(record.kept.annex.clone())
            .map_err(|error| format!("the annex does not parse: {error}"))
            .and_then(|annex| local_records::check_annex(&annex, record.kept.kind).map(|()| annex));
        match annex {
            Ok(annex) => {
                let moment = self.times.take(seconds(annex.received_at));
                if let Some(message) = message {
                    return self.message(&read.leaf, message, (index, annex, moment));
                }
                let fits = self.times.check_local(index, moment);
                self.report.judge(Check::Annexes, index, fits);
                self.local_record(kind, record, moment.logged_at);
            }
            Err(problem) => {
                self.report.failed(Check::Annexes, index, problem);
                if kind == RecordKind::Message {
                    self.report.unchecked(Check::Forms);
                    messages::leave_unchecked(&mut self.report);
                } else {
                    self.report.unchecked(Check::LocalForms);
                }
            }
        }
    }

    fn message(
        &mut self,
        leaf: &LeafPreimage,
        message: PreparedMessage,
        recorded: (u64, Annex, Moment),
    ) {
        self.report.facts.messages += 1;
        let mut evidence = Evidence {
            server: &self.keeper.0,
            configuration: &self.configuration,
            certificates: &mut self.certificates,
            contents: &mut self.contents,
            times: &self.times,
            batches: &self.batches,
        };
        if let Some(message) = evidence.check(&mut self.report, leaf, message, recorded) {
            let promised =
                self.exchanges
                    .message(&mut self.report, &self.origin, &self.local_state, &message);
            if let Some(promised) = promised {
                self.peer_logs.promised(&promised);
            }
        }
    }

    fn local_record(&mut self, kind: RecordKind, record: &RawRecord, at: i64) {
        let (report, index) = (&mut self.report, record.index);
        let parsed = LocalRecord::parse(kind, record);
        let Some(parsed) = report.judge(Check::LocalForms, index, parsed) else {
            return;
        };
        match parsed {
            LocalRecord::Closing(side, exchange, closing) => {
                self.exchanges
                    .closing(report, index, (side, exchange), &closing, at);
            }
            LocalRecord::Security(event) => {
                let events = &mut report.facts.security_events;
                *events = events.saturating_add(event.count);
            }
            LocalRecord::Change(change) => {
                let applied = self.local_state.apply(index, &change, at);
                report.judge(Check::Changes, index, applied);
            }
            LocalRecord::Certificate(der) => {
                // A peer can send anything as a certificate: what needs this one fails by itself.
                if let Err(problem) = self.certificates.record(&der) {
                    report.unusable_certificate(index, &problem);
                }
            }
            LocalRecord::RootDocument(signed) => {
                self.configuration.root_document(report, index, &signed, at);
            }
            LocalRecord::Head(encoded) => self.configuration.head(report, index, &encoded, at),
            LocalRecord::Membership(membership) => {
                self.configuration.membership(report, index, membership);
            }
            LocalRecord::Torn(torn) => self.torn.state(index, torn),
            LocalRecord::Erased(erased) => {
                self.contents
                    .erased(report, erased.first_index, erased.last_index);
            }
            LocalRecord::Clock(accepted) => self.times.clock_accepted(accepted.clock),
            LocalRecord::PeerCheckpoint(given) => {
                let configuration = &self.configuration;
                self.peer_logs
                    .checkpoint(report, configuration, index, &given);
            }
            LocalRecord::RefusedAction => report.facts.refused_actions += 1,
        }
    }
}

/// The leaf of every record, so that a reader can go on: one that cannot be computed gets the
/// leaf of a local record, which stands in no tree that anybody has signed.
pub(crate) fn leaf_of(kept: &KeptPart) -> LeafPreimage {
    trust::record::leaf_preimage(kept.kind, &kept.header, &kept.signature, &kept.annex)
        .unwrap_or_else(|_| LeafPreimage::of_local_record(kept.kind, &kept.header, &kept.annex))
}

/// The same for a reader of logs.
pub(crate) fn any_leaf_of(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    Ok(leaf_of(kept))
}

/// Whether the leaf is the record's own.
fn has_leaf(read: &ReadRecord) -> bool {
    let kept = &read.record.kept;
    if i32::from(kept.kind) == RecordKind::Message as i32 {
        read.leaf.message_digest != Digest::of(&kept.header)
    } else {
        kept.signature.is_empty()
    }
}
