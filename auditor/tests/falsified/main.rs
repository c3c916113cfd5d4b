//! Logs that lie in one way each: the auditor names this check, this record, and no other.
//!
//! Each log is written as a lying server would: checksums, chain and checkpoint are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../fixture/mod.rs"]
mod fixture;

mod configuration;
mod exchanges;
mod messages;
mod statements;
mod times;
mod tree;

use auditor::{Check, Report};
use bytes::Bytes;
use fixture::{
    Federation, Ledger, NOW,
    federation::{new_key, set, signed_root_document},
    ledger::parties,
    story::{DESK, OFFICE, POPULATION, Story, closing, grant, withdraw},
};
use prost::Message;
use trust::{
    Digest,
    header::{Direction, Header},
    signature::Signer,
    wire::{
        configuration::{Authority, Registration},
        evidence::{
            Annex, ClockAccepted, Closing, Erased, Membership, MessageHeader, RecordKind,
            SecurityEvent, Signature, Stage, signature::Form,
        },
    },
};

/// Asserts that this check failed once, for this record, in such words, and that no other did.
#[track_caller]
fn only(report: &Report, check: Check, record: u64, words: &str) {
    let findings = report.findings();
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(
        (findings[0].check, findings[0].record),
        (check, Some(record)),
        "{report}"
    );
    assert!(findings[0].problem.contains(words), "{report}");
    assert!(!report.holds());
}

/// The same when the promises of replies break besides, since the record that they name has become
/// another one or stands elsewhere: so many.
#[track_caller]
fn only_and_promises(report: &Report, check: Check, record: u64, words: &str, broken: usize) {
    let (promises, others): (Vec<_>, Vec<_>) = report
        .findings()
        .iter()
        .partition(|finding| finding.check == Check::Promises);
    assert_eq!((promises.len(), others.len()), (broken, 1), "{report}");
    assert_eq!(
        (others[0].check, others[0].record),
        (check, Some(record)),
        "{report}"
    );
    assert!(others[0].problem.contains(words), "{report}");
}

/// The same of the log as a whole.
#[track_caller]
fn only_log(report: &Report, check: Check, words: &str) {
    let findings = report.findings();
    assert_eq!(findings.len(), 1, "{report}");
    assert_eq!(
        (findings[0].check, findings[0].record),
        (check, None),
        "{report}"
    );
    assert!(findings[0].problem.contains(words), "{report}");
}

/// Which checks failed, and for which records.
fn places(report: &Report) -> Vec<(Check, Option<u64>)> {
    let findings = report.findings().iter();
    findings
        .map(|finding| (finding.check, finding.record))
        .collect()
}

/// Puts a record in place of another one that supports nothing.
fn blank(ledger: &mut Ledger, index: u64) {
    let entry = &mut ledger.entries[index as usize];
    entry.kind = RecordKind::Security;
    entry.annex.kind = RecordKind::Security.into();
    entry.header = SecurityEvent::default().encode_to_vec().into();
}

/// The index of the proof of this key.
fn membership_of(ledger: &Ledger, key: &str) -> u64 {
    let position = ledger.entries.iter().position(|entry| {
        entry.kind == RecordKind::Membership
            && Membership::decode(entry.header.clone())
                .unwrap()
                .key
                .starts_with(key)
    });
    position.unwrap() as u64
}

fn alter_header(ledger: &mut Ledger, index: u64, alter: impl FnOnce(&mut MessageHeader)) {
    let entry = &mut ledger.entries[index as usize];
    let mut header = MessageHeader::decode(entry.header.clone()).unwrap();
    alter(&mut header);
    entry.header = header.encode_to_vec().into();
}
