//! The files of a container, all made from its records: when written, and again when verified.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use certs::{Certificate, MAXIMUM_PATH, file::in_pem};
use prost::Message;
use trust::{
    Digest, ServerId,
    configuration::StateKey,
    wire::{
        configuration::{Authority, LogKey},
        evidence::{CertificateRecord, Membership, RecordKind},
    },
};
use verifiable_log::RawRecord;

use super::{
    Evidence, MIME_TYPE, instructions, message_files,
    statement::{Statement, message_name},
};
use crate::messages::kept_message;

pub(crate) const STATEMENT: &str = "META-INF/evidence/records.json";
pub(crate) const CHECKPOINT: &str = "META-INF/evidence/checkpoint";
pub(crate) const INSTRUCTIONS: &str = "VERIFY.txt";
pub(crate) const MIME_TYPE_FILE: &str = "mimetype";

/// An Ed25519 key as RFC 8410 writes it, before its 32 bytes.
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The files of a container by name.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// Makes the files.
///
/// # Errors
/// In words, when a message of the exchange cannot be put into a container.
pub(crate) fn files(evidence: &Evidence) -> Result<Files, String> {
    let mut files = Files::new();
    let certificates = Certificates::of(evidence);
    let mut signing_times = BTreeMap::new();
    for proven in &evidence.records {
        let record = &proven.record;
        let Some(name) = message_name(record) else {
            continue;
        };
        let (signed, at) = add_message(&mut files, &name, record, &certificates)?;
        signing_times.insert(signed, at);
    }
    let times: String = signing_times
        .iter()
        .map(|(name, at)| format!("{name} {at}\n"))
        .collect();
    let checkpoint = &evidence.checkpoint;
    for (name, bytes) in [
        (MIME_TYPE_FILE, Bytes::from_static(MIME_TYPE)),
        (INSTRUCTIONS, instructions::text(evidence).into()),
        (STATEMENT, Statement::of(evidence).to_json().into()),
        (CHECKPOINT, checkpoint.as_bytes().clone()),
        (
            "META-INF/evidence/checkpoint.text",
            Bytes::copy_from_slice(checkpoint.text()),
        ),
        ("META-INF/evidence/signing-times", times.into()),
        (
            "META-INF/evidence/authorities.pem",
            authorities(evidence)?.into(),
        ),
    ] {
        files.insert(name.to_owned(), bytes);
    }
    if let Some(key) = log_key(evidence) {
        let pem = in_pem("PUBLIC KEY", &[ED25519_PREFIX, &key].concat());
        let pem = pem.map_err(|problem| problem.to_string())?;
        files.insert("META-INF/evidence/log-key.pem".to_owned(), pem.into());
        let ours = trust::checkpoint::LogKey::from_slice(&key).map(|key| {
            let name = evidence.log.as_str();
            (name.to_owned(), key.id(name))
        });
        let signature = checkpoint.signatures().iter().find(|line| {
            ours.as_ref()
                .is_some_and(|(name, id)| *line.name == **name && line.key_id == *id)
        });
        if let Some(line) = signature {
            let name = "META-INF/evidence/checkpoint.signature".to_owned();
            files.insert(name, line.signature.clone());
        }
    }
    Ok(files)
}

/// Adds the files of one message; gives what was signed and when.
fn add_message(
    files: &mut Files,
    name: &str,
    record: &RawRecord,
    certificates: &Certificates,
) -> Result<(String, i64), String> {
    let unusable = |what: &str| format!("record {}: {what}", record.index);
    let message = kept_message(record).map_err(|problem| unusable(&problem))?;
    let of_message = message_files::files(name, record, &message, certificates)
        .map_err(|problem| unusable(&problem))?;
    for (name, bytes) in of_message.files {
        // A server that is on both sides of an exchange records each message twice, and messages of
        // one batch share a signature.
        match files.insert(name, bytes.clone()) {
            Some(other) if other != bytes => {
                return Err(unusable("another message of this exchange has its place"));
            }
            _ => {}
        }
    }
    Ok((of_message.signed, message.signed_at()))
}

/// The certificates that the records hold.
pub(super) struct Certificates {
    recorded: Vec<Certificate>,
    /// Those that may issue others, by their subject.
    issuers: HashMap<String, Vec<usize>>,
}

impl Certificates {
    fn of(evidence: &Evidence) -> Self {
        let recorded: Vec<Certificate> = bodies(evidence, RecordKind::Certificate)
            .filter_map(|body| CertificateRecord::decode(body).ok())
            .filter_map(|recorded| Certificate::parse(&recorded.certificate).ok())
            .collect();
        let mut issuers: HashMap<String, Vec<usize>> = HashMap::new();
        for (position, certificate) in recorded.iter().enumerate() {
            if certificate.is_authority() {
                let subject = certificate.subject().to_owned();
                issuers.entry(subject).or_default().push(position);
            }
        }
        Self { recorded, issuers }
    }

    /// The certificate of this digest, and those that may stand above it: all of one subject, as
    /// far as there is room, since which of them leads to an authority is for the reader to find.
    pub(super) fn chain(&self, digest: &Digest) -> Vec<Certificate> {
        let signer = self.recorded.iter().find(|it| it.digest() == *digest);
        let mut chain: Vec<&Certificate> = signer.into_iter().collect();
        let mut reached = 0;
        while let Some(certificate) = chain.get(reached).copied() {
            reached += 1;
            let above = self.issuers.get(certificate.issuer()).into_iter().flatten();
            for above in above
                .rev()
                .filter_map(|position| self.recorded.get(*position))
            {
                if above.subject() != certificate.subject()
                    && chain.len() <= MAXIMUM_PATH
                    && !chain.contains(&above)
                {
                    chain.push(above);
                }
            }
        }
        chain.into_iter().cloned().collect()
    }
}

/// The authorities approved for signing under the states that the records prove, in PEM.
fn authorities(evidence: &Evidence) -> Result<String, String> {
    let mut found: Vec<Bytes> = memberships(evidence)
        .filter(|membership| membership.key.starts_with("authority/"))
        .filter_map(|membership| Authority::decode(membership.value).ok())
        .filter(|authority| authority.signing)
        .map(|authority| authority.certificate)
        .collect();
    found.sort();
    found.dedup();
    let pem = found.iter().map(|der| in_pem("CERTIFICATE", der));
    pem.collect::<Result<_, _>>()
        .map_err(|problem| problem.to_string())
}

/// The key registered for the log.
fn log_key(evidence: &Evidence) -> Option<[u8; 32]> {
    let (server, generation): (ServerId, u32) = evidence.log.server()?;
    let key = StateKey::Log(server, generation).to_string();
    let newest = memberships(evidence).filter(|it| it.key == key).last()?;
    let registered = LogKey::decode(newest.value).ok()?;
    registered.public_key.as_ref().try_into().ok()
}

fn memberships(evidence: &Evidence) -> impl Iterator<Item = Membership> {
    bodies(evidence, RecordKind::Membership).filter_map(|body| Membership::decode(body).ok())
}

fn bodies(evidence: &Evidence, kind: RecordKind) -> impl Iterator<Item = Bytes> {
    let records = evidence.records.iter().map(|proven| &proven.record);
    records
        .filter(move |record| i32::from(record.kept.kind) == kind as i32)
        .map(|record| record.kept.header.clone())
}
