//! A truthful log passes, with the exact counts: whole, growing, and after a server started again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{sync::mpsc, thread};

use auditor::{Check, Tally};
use fixture::{
    federation::{new_key, signed_root_document},
    ledger::{append, parties},
    story::{DESK, OFFICE, POPULATION, Story, grant},
};
use trust::wire::evidence::RecordKind;

#[test]
fn every_check_holds_and_counts_what_it_looked_at() {
    let report = Story::truthful().audit();
    assert!(report.holds(), "{report}");
    let expected = [
        (Check::Identity, 1),
        (Check::Records, 33),
        (Check::Container, 0),
        (Check::TornFiles, 0),
        (Check::Leaves, 33),
        (Check::Checkpoint, 1),
        (Check::Inclusion, 0),
        (Check::Root, 1),
        (Check::RootDocuments, 1),
        (Check::Heads, 1),
        (Check::Serials, 1),
        (Check::Memberships, 9),
        (Check::Forms, 13),
        (Check::Contents, 11),
        (Check::InForce, 13),
        (Check::Certificates, 13),
        (Check::Signatures, 13),
        (Check::Speakers, 13),
        (Check::Times, 13),
        (Check::Once, 6),
        (Check::Order, 13),
        (Check::Rights, 8),
        (Check::Refusals, 1),
        (Check::Promises, 6),
        (Check::PromisesKept, 0),
        (Check::Closings, 2),
        (Check::Annexes, 33),
        (Check::LocalForms, 20),
        (Check::PeerCheckpoints, 0),
        (Check::Changes, 4),
    ];
    assert_eq!(expected.len(), Check::ALL.len());
    for (check, held) in expected {
        let tally = Tally {
            held,
            failed: 0,
            unchecked: 0,
        };
        assert_eq!(report.tally(check), tally, "{}", check.name());
    }
    let facts = &report.facts;
    assert_eq!((facts.records, facts.messages), (33, 13));
    assert_eq!(
        (facts.checkpoint_size, facts.records_after_checkpoint),
        (Some(33), 0)
    );
    let exchanges = (
        facts.exchanges_answered,
        facts.exchanges_closed,
        facts.exchanges_open,
    );
    assert_eq!(exchanges, (4, 2, 0));
    assert_eq!((facts.contents_kept, facts.contents_never_kept), (11, 2));
    assert_eq!((facts.security_events, facts.newest_serial), (3, Some(9)));
}

#[test]
fn a_new_log_without_messages_is_said_not_to_be_anchored_and_holds() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    drop(story.ledger.open_new(&log, &story.federation));
    let report = story.audit_in(&log);
    assert!(report.holds(), "{report}");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("no checkpoint yet")),
        "{report}"
    );
}

#[test]
fn a_live_log_holds_at_every_moment_and_what_is_not_yet_signed_for_is_counted() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("log");
    let log = story.ledger.open_new(&folder, &story.federation);
    let (begun, rest) = story.ledger.entries.split_at(story.unary[0] as usize + 1);
    append(&log, begun);
    log.checkpoint(&story.federation.log_key).unwrap();
    let report = story.audit_in(&folder);
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.records_after_checkpoint, 0);
    assert_eq!(report.facts.exchanges_open, 1);

    let (written, all_written) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            for entry in rest {
                append(&log, std::slice::from_ref(entry));
            }
            written.send(()).unwrap();
        });
        while all_written.try_recv().is_err() {
            let report = story.audit_in(&folder);
            assert!(report.holds(), "{report}");
        }
    });
    let report = story.audit_in(&folder);
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.records, 33);
    assert_eq!(report.facts.records_after_checkpoint, rest.len() as u64);
    assert_eq!(
        report.verdict(),
        format!(
            "All checks hold: VN/GOV/MINISTRY/server-1/1, 33 records, of which the checkpoint covers {}.",
            begun.len()
        )
    );
    assert!(
        report
            .to_string()
            .contains("nobody has signed for them yet")
    );
}

#[test]
fn a_server_that_starts_again_records_its_support_once_more() {
    let mut story = Story::truthful();
    let published = story.published.clone();
    let document = story.federation.anchor.root().signed().clone();
    story.ledger.local(RecordKind::RootDocument, document);
    story.ledger.configuration(&published);
    story.consume(20);
    assert!(story.audit().holds());
}

#[test]
fn root_documents_head_keys_and_configurations_change() {
    let mut story = Story::truthful();
    let (root, head) = (new_key(), new_key());
    let former = &story.federation.root_key;
    let document = signed_root_document(&[former, &root], &root, &head, 2);
    story.ledger.local(RecordKind::RootDocument, document);
    story.federation.head_key = head;
    story.published = story
        .federation
        .publish(12, &story.federation.registrations());
    story.ledger.configuration(&story.published.clone());
    story.ledger.clock += 60;
    story.answer_unary(20);
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.tally(Check::RootDocuments).held, 2);
    assert_eq!(report.facts.newest_serial, Some(12));
}

#[test]
fn a_replaced_right_and_a_request_by_the_new_one() {
    let mut story = Story::truthful();
    story.right = story.ledger.change(&grant("lookup", &[]));
    story.ledger.clock += 60;
    story.answer_unary(20);
    assert!(story.audit().holds());
}

#[test]
fn a_request_under_way_at_the_end_of_its_exchange() {
    let mut story = Story::truthful();
    let parties = parties(DESK, OFFICE, 20);
    let first = story
        .request(&parties, None)
        .signed(&story.federation.ministry);
    story.record(&first);
    let reply = story
        .reply(&parties, None, &first)
        .last()
        .signed(&story.federation.commune);
    story.record(&reply);
    let late = story
        .request(&parties, Some(&first))
        .last()
        .signed(&story.federation.ministry);
    story.record(&late);
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.late_requests, 1);
    // A server that starts again closes the exchange that it finds open.
    story.ledger.clock += 3600;
    story
        .ledger
        .closing(&fixture::story::closing("consumer", &late, None));
    assert!(story.audit().holds());
}

#[test]
fn one_server_can_be_both_sides_of_an_exchange_id() {
    let mut story = Story::truthful();
    story.answer_unary(20);
    story.consume(20);
    let (received, sent) = (parties(OFFICE, POPULATION, 20), parties(DESK, OFFICE, 20));
    assert_eq!(received.exchange, sent.exchange);
    assert!(story.audit().holds());
}
