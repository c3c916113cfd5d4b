//! What an auditor needs beside a record, and how much of it the log already holds.

use std::{collections::HashSet, sync::PoisonError};

use super::{MessageRecord, Recorder, appending::Made};
use crate::{certificates::KnownCertificate, snapshot::Snapshot};
use trust::{
    Digest, ServerId, SubsystemId,
    configuration::{Configuration, StateKey},
    wire::evidence::{CertificateRecord, RecordKind},
};

/// What an auditor needs beside a record to verify it.
pub(super) struct Support<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Whose values in that configuration.
    pub(super) keys: Vec<StateKey>,
    pub(super) certificate: Option<&'a KnownCertificate>,
}

/// What the support of a message depends on, under one configuration.
#[derive(PartialEq, Eq, Hash)]
struct Dependence {
    sender: ServerId,
    speaker: SubsystemId,
    certificate: Digest,
    peer_certificate: Option<Digest>,
    promised_log: Option<String>,
}

/// Which supporting records the log already holds; the rest is written before what needs it.
#[derive(Default)]
pub(super) struct Kept {
    /// What depends on nothing that is missing, under the head and root documents below.
    supported: HashSet<Dependence>,
    root_documents: usize,
    head: Option<Digest>,
    state_root: Option<Digest>,
    memberships: HashSet<String>,
    certificates: HashSet<Digest>,
}

/// Forgotten when so many certificates were kept; they are then kept once more when needed.
const CERTIFICATE_MEMORY: usize = 64 * 1024;

/// As many dependences are remembered; beyond, all are forgotten and looked up once more.
const SUPPORTED_MEMORY: usize = 64 * 1024;

impl Dependence {
    fn of(record: &MessageRecord<'_>) -> Self {
        let header = record.message.header();
        Self {
            sender: header.sending_server().clone(),
            speaker: header.speaker().clone(),
            certificate: record.certificate.facts.digest,
            peer_certificate: record.peer_certificate.copied(),
            promised_log: header.promise.as_ref().map(|it| it.origin.clone()),
        }
    }
}

impl Kept {
    /// Whether what is kept is what this configuration needs.
    fn is_of(&self, snapshot: &Snapshot) -> bool {
        let head = snapshot.configuration().head();
        self.root_documents >= snapshot.root_documents().len()
            && self.head == Some(head.digest())
            && self.state_root == Some(head.state_root())
    }
}

impl Recorder {
    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn message_support<'a>(&self, record: &MessageRecord<'a>) -> Support<'a> {
        let configuration = record.snapshot.configuration();
        let mut keys = configuration.evidence_keys(
            record.message.header(),
            &record.certificate.facts,
            record.peer_certificate,
        );
        let own_log = StateKey::Log(self.server.clone(), self.generation);
        if !keys.contains(&own_log) {
            keys.push(own_log);
        }
        Support {
            snapshot: record.snapshot,
            keys,
            certificate: Some(record.certificate),
        }
    }

    /// Whether everything that the message depends on is known to be in the log.
    pub(super) fn is_supported(&self, record: &MessageRecord<'_>) -> bool {
        let kept = self.lock();
        kept.is_of(record.snapshot) && kept.supported.contains(&Dependence::of(record))
    }

    /// Notes what was recorded with all that it depends on, unless the configuration has changed.
    pub(super) fn note_supported(&self, records: &[MessageRecord<'_>]) {
        let mut kept = self.lock();
        if kept.supported.len() >= SUPPORTED_MEMORY {
            kept.supported.clear();
        }
        for record in records {
            if kept.is_of(record.snapshot) {
                kept.supported.insert(Dependence::of(record));
            }
        }
    }

    pub(super) fn lacks(&self, support: &Support<'_>) -> bool {
        let kept = self.lock();
        let lacks_certificate = support
            .certificate
            .is_some_and(|certificate| !kept.certificates.contains(&certificate.facts.digest));
        !kept.is_of(support.snapshot)
            || lacks_certificate
            || support
                .keys
                .iter()
                .any(|key| !kept.memberships.contains(&key.to_string()))
    }

    /// The supporting records that the log does not hold yet.
    pub(super) fn missing(&self, support: &Support<'_>) -> Vec<Made> {
        let configuration: &Configuration = support.snapshot.configuration();
        let head = configuration.head();
        let mut keys = support.keys.clone();
        let (root_documents, head_kept, certificate) = {
            let kept = self.lock();
            if kept.state_root == Some(head.state_root()) {
                keys.retain(|key| !kept.memberships.contains(&key.to_string()));
            }
            let certificate = support
                .certificate
                .filter(|certificate| !kept.certificates.contains(&certificate.facts.digest));
            (
                kept.root_documents,
                kept.head == Some(head.digest()),
                certificate,
            )
        };
        let mut records = Vec::new();
        for document in support
            .snapshot
            .root_documents()
            .iter()
            .skip(root_documents)
        {
            records.push(self.local_bytes(RecordKind::RootDocument, document.clone()));
        }
        if !head_kept {
            records.push(self.local_bytes(RecordKind::Head, head.encoded().clone()));
        }
        for membership in configuration.prove(&keys) {
            records.push(self.local(RecordKind::Membership, &membership));
        }
        for certificate in certificate.iter().flat_map(|of| &of.chain) {
            let body = CertificateRecord {
                certificate: certificate.clone(),
            };
            records.push(self.local(RecordKind::Certificate, &body));
        }
        records
    }

    pub(super) fn note_kept(&self, support: &Support<'_>) {
        let head = support.snapshot.configuration().head();
        let mut kept = self.lock();
        if !kept.is_of(support.snapshot) {
            kept.supported.clear();
        }
        kept.root_documents = kept
            .root_documents
            .max(support.snapshot.root_documents().len());
        kept.head = Some(head.digest());
        if kept.state_root != Some(head.state_root()) {
            kept.state_root = Some(head.state_root());
            kept.memberships.clear();
        }
        kept.memberships
            .extend(support.keys.iter().map(ToString::to_string));
        let Some(certificate) = support.certificate else {
            return;
        };
        if kept.certificates.len() >= CERTIFICATE_MEMORY {
            kept.certificates.clear();
            kept.supported.clear();
        }
        kept.certificates.insert(certificate.facts.digest);
    }
}
