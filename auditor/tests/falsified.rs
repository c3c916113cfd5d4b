//! Logs that lie in one way each: the auditor names this check, this record, and no other.
//!
//! Each log is written as a lying server would: checksums, chain and checkpoint are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

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
    header::Direction,
    signature::Signer,
    wire::{
        configuration::{Authority, Registration},
        evidence::{
            ClockAccepted, Erased, Membership, MessageHeader, RecordKind, SecurityEvent, Signature,
            signature::Form,
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

// The tree and its checkpoint.

#[test]
fn a_record_replaced_after_the_checkpoint_was_signed() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let (truthful, falsified) = (
        folder.path().join("truthful"),
        folder.path().join("falsified"),
    );
    story
        .ledger
        .write(&truthful, &story.federation, &story.federation.log_key);
    let mut ledger = story.ledger.clone();
    ledger.entries[story.unary[0] as usize].annex.salt = Bytes::from_static(b"another");
    ledger.write(&falsified, &story.federation, &new_key());
    std::fs::copy(truthful.join("checkpoint"), falsified.join("checkpoint")).unwrap();
    only_log(
        &story.audit_in(&falsified),
        Check::Root,
        "not the one that the checkpoint",
    );
}

#[test]
fn records_lost_from_the_end() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    story
        .ledger
        .write(&whole, &story.federation, &story.federation.log_key);
    let mut ledger = story.ledger.clone();
    ledger.entries.truncate(30);
    ledger.write(&cut, &story.federation, &new_key());
    std::fs::copy(whole.join("checkpoint"), cut.join("checkpoint")).unwrap();
    only(&story.audit_in(&cut), Check::Root, 30, "records are lost");
}

#[test]
fn a_checkpoint_of_another_key() {
    let mut story = Story::truthful();
    story.federation.log_key = new_key();
    only_log(
        &story.audit(),
        Check::Checkpoint,
        "not signed by the log's key",
    );
}

#[test]
fn messages_that_nobody_has_signed_for() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    std::fs::remove_file(log.join("checkpoint")).unwrap();
    only_log(
        &story.audit_in(&log),
        Check::Checkpoint,
        "there is no checkpoint",
    );
}

#[test]
fn a_log_key_that_no_record_proves() {
    let mut story = Story::truthful();
    let index = membership_of(&story.ledger, "log/");
    blank(&mut story.ledger, index);
    only_log(&story.audit(), Check::Checkpoint, "not anchored");
}

// The configuration.

#[test]
fn a_log_under_another_anchor() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    let other = Federation::new().anchor;
    let report = auditor::audit(&log, &other, NOW + 1, &mut |_| {}).unwrap();
    only(
        &report,
        Check::RootDocuments,
        0,
        "kept under another anchor",
    );
    assert!(report.verdict().contains("another anchor"), "{report}");
}

#[test]
fn a_root_document_that_the_old_keys_did_not_sign() {
    let mut story = Story::truthful();
    let (root, head) = (new_key(), new_key());
    let document = signed_root_document(&[&root], &root, &head, 2);
    let index = story.ledger.local(RecordKind::RootDocument, document);
    only(
        &story.audit(),
        Check::RootDocuments,
        index,
        "0 valid signatures",
    );
}

#[test]
fn a_head_of_another_key() {
    let mut story = Story::truthful();
    let other = Federation::new();
    let forged = other.publish(20, &story.federation.registrations());
    let index = story.ledger.local(RecordKind::Head, forged.head);
    only(
        &story.audit(),
        Check::Heads,
        index,
        "not signed by a head key",
    );
}

#[test]
fn a_head_from_the_future() {
    let mut story = Story::truthful();
    let state = story.published.state.clone();
    let future = story
        .federation
        .publish_state(20, state, NOW + 3600, NOW + 7200);
    let index = story.ledger.local(RecordKind::Head, future.head);
    only(
        &story.audit(),
        Check::Heads,
        index,
        "issued after it was recorded",
    );
}

#[test]
fn a_configuration_that_went_back() {
    let mut story = Story::truthful();
    let newer = story
        .federation
        .publish(12, &story.federation.registrations());
    story.ledger.local(RecordKind::Head, newer.head);
    story.ledger.clock += 60;
    let index = story
        .ledger
        .local(RecordKind::Head, story.published.head.clone());
    only(
        &story.audit(),
        Check::Serials,
        index,
        "serial 9 is recorded after serial 12",
    );
}

#[test]
fn two_states_of_one_serial() {
    let mut story = Story::truthful();
    let mut registrations = story.federation.registrations();
    registrations.truncate(10);
    let fork = story.federation.publish(9, &registrations);
    let index = story.ledger.local(RecordKind::Head, fork.head);
    only(
        &story.audit(),
        Check::Serials,
        index,
        "two heads of serial 9",
    );
}

#[test]
fn a_registration_that_was_never_published() {
    let mut story = Story::truthful();
    let index = membership_of(&story.ledger, "registration/GOV/COMMUNE");
    let entry = &mut story.ledger.entries[index as usize];
    let mut membership = Membership::decode(entry.header.clone()).unwrap();
    membership.value = Registration { enabled: false }.encode_to_vec().into();
    entry.header = membership.encode_to_vec().into();
    let report = story.audit();
    only(
        &report,
        Check::Memberships,
        index,
        "not in the state that was published",
    );
    assert!(report.tally(Check::Speakers).unchecked > 0, "{report}");
}

#[test]
fn a_proof_under_a_state_that_no_head_publishes() {
    let mut story = Story::truthful();
    let mut registrations = story.federation.registrations();
    registrations.push(set(
        "member/GOV/NEW",
        &trust::wire::configuration::Member::default(),
    ));
    let unpublished = story.federation.publish(15, &registrations);
    let proof = unpublished.state.prove(&unpublished.keys()).remove(0);
    let index = story
        .ledger
        .local(RecordKind::Membership, proof.encode_to_vec());
    only(
        &story.audit(),
        Check::Memberships,
        index,
        "leads to no head",
    );
}

// Messages.

#[test]
fn a_header_that_is_none() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.header = entry.header.slice(..40);
    only(&story.audit(), Check::Forms, index, "malformed");
}

#[test]
fn an_altered_header() {
    let mut story = Story::truthful();
    let index = story.unary[1];
    alter_header(&mut story.ledger, index, |header| {
        header.status_code = Some(5)
    });
    only(&story.audit(), Check::Signatures, index, "does not verify");
}

#[test]
fn an_altered_signature() {
    let mut story = Story::truthful();
    let index = story.stream[2];
    let entry = &mut story.ledger.entries[index as usize];
    let mut signature = Signature::decode(entry.signature.clone()).unwrap();
    if let Some(Form::CadesV1(cades)) = &mut signature.form {
        let mut value = cades.value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        cades.value = value.into();
    }
    entry.signature = signature.encode_to_vec().into();
    only(&story.audit(), Check::Signatures, index, "does not verify");
}

#[test]
fn an_annex_with_another_certificate() {
    let mut story = Story::truthful();
    let index = story.unary[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.certificate_digest = Digest::of(b"another").to_bytes();
    let report = story.audit();
    only(&report, Check::Annexes, index, "names another certificate");
    assert_eq!(
        report.tally(Check::Signatures).held,
        13,
        "the rest is checked: {report}"
    );
}

#[test]
fn an_annex_that_does_not_say_whose_message_it_is() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    story.ledger.entries[index as usize].annex.stage = 0;
    let report = story.audit();
    only(
        &report,
        Check::Annexes,
        index,
        "whether it was sent or received",
    );
    assert_eq!(report.tally(Check::Signatures).unchecked, 1, "{report}");
}

#[test]
fn an_annex_of_another_kind() {
    let mut story = Story::truthful();
    let entry = story.ledger.entries.last_mut().unwrap();
    entry.annex.kind = RecordKind::Change.into();
    let index = story.ledger.next_index() - 1;
    only(
        &story.audit(),
        Check::Annexes,
        index,
        "the annex says kind 4",
    );
}

#[test]
fn an_altered_content() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    let mut content = entry.content.to_vec();
    content[20] ^= 1;
    entry.content = content.into();
    only(
        &story.audit(),
        Check::Contents,
        index,
        "not the one that the header names",
    );
}

#[test]
fn a_content_that_is_gone_without_a_record() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    story.ledger.entries[index as usize].content = Bytes::new();
    only(&story.audit(), Check::Contents, index, "no record says");

    let erased = Erased {
        first_index: 0,
        last_index: index,
        reason: "its term".to_owned(),
    };
    story
        .ledger
        .local(RecordKind::Erased, erased.encode_to_vec());
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.contents_erased, 1);
}

#[test]
fn a_configuration_that_is_not_recorded() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.head_digest = Digest::of(b"no head").to_bytes();
    only(&story.audit(), Check::InForce, index, "is not recorded");
}

#[test]
fn a_configuration_that_was_replaced_before() {
    let mut story = Story::truthful();
    let newer = story
        .federation
        .publish(12, &story.federation.registrations());
    story.ledger.configuration(&newer);
    story.ledger.clock += 60;
    let [request, _] = story.consume(20);
    let report = story.audit();
    let findings = report.findings();
    assert_eq!(findings.len(), 2, "{report}");
    assert!(
        findings
            .iter()
            .all(|finding| finding.check == Check::InForce),
        "{report}"
    );
    assert_eq!(findings[0].record, Some(request));
    assert!(
        findings[0]
            .problem
            .contains("replaced by a newer one 60 seconds before"),
        "{report}"
    );
}

#[test]
fn a_configuration_that_had_expired() {
    let mut story = Story::truthful();
    story.ledger.clock += 8 * 86_400;
    let [request, _] = story.consume(20);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    let later = NOW + 30 * 86_400;
    let report = auditor::audit(&log, &story.federation.anchor, later, &mut |_| {}).unwrap();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert_eq!(report.findings()[0].record, Some(request));
    assert!(
        report.findings()[0]
            .problem
            .contains("configuration 9 had expired"),
        "{report}"
    );
}

#[test]
fn a_signing_certificate_that_is_missing() {
    let mut story = Story::truthful();
    let digest = story.federation.commune.certificate_digest();
    let position = story.ledger.entries.iter().position(|entry| {
        entry.kind == RecordKind::Certificate
            && entry
                .header
                .ends_with(story.federation.commune.certificate.certificate().der())
    });
    blank(&mut story.ledger, position.unwrap() as u64);
    let report = story.audit();
    assert!(!report.holds());
    for finding in report.findings() {
        assert_eq!(finding.check, Check::Certificates, "{report}");
        assert!(finding.problem.contains(&digest.to_string()), "{report}");
    }
    assert_eq!(
        report.findings().len(),
        5,
        "one for each message of the commune: {report}"
    );
    assert_eq!(report.tally(Check::Signatures).unchecked, 5);
}

#[test]
fn an_authority_that_is_not_approved_for_signing() {
    let mut story = Story::begun(Federation::new());
    let mut registrations = story.federation.registrations();
    let authority = registrations.last_mut().unwrap();
    authority.value = Some(unapproved(authority.value.clone().unwrap()));
    story.published = story.federation.publish(12, &registrations);
    story.ledger.configuration(&story.published.clone());
    story.consume(1);
    let report = story.audit();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert!(report.findings().iter().all(|finding| {
        finding.check == Check::Certificates && finding.problem.contains("no approved authority")
    }));
}

fn unapproved(value: Bytes) -> Bytes {
    let authority = Authority {
        signing: false,
        ..Authority::decode(value).unwrap()
    };
    authority.encode_to_vec().into()
}

#[test]
fn a_reply_signed_by_another_member() {
    let mut story = Story::begun(Federation::new());
    story
        .ledger
        .certificate(story.federation.stranger.certificate.certificate().der());
    let parties = parties(DESK, OFFICE, 1);
    let request = story.first_request(&parties);
    story.record(&request);
    let reply = story
        .reply(&parties, None, &request)
        .last()
        .signed(&story.federation.stranger);
    let index = story.record(&reply);
    only(
        &story.audit(),
        Check::Speakers,
        index,
        "VN/GOV/STRANGER signed for",
    );
}

#[test]
fn a_message_over_the_connection_of_an_unregistered_server() {
    let mut story = Story::truthful();
    let index = story.consumed[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.peer_certificate_digest = Digest::of(b"unknown").to_bytes();
    only(
        &story.audit(),
        Check::Speakers,
        index,
        "not proven to be registered",
    );
}

#[test]
fn a_subsystem_that_is_not_registered_at_its_server() {
    let mut story = Story::truthful();
    let index = membership_of(
        &story.ledger,
        "registration/GOV/MINISTRY/server-1/GOV/MINISTRY/desk",
    );
    blank(&mut story.ledger, index);
    let report = story.audit();
    assert_eq!(report.findings().len(), 2, "{report}");
    assert!(
        report
            .findings()
            .iter()
            .all(|finding| finding.check == Check::Speakers)
    );
    assert_eq!(report.findings()[0].record, Some(story.consumed[0]));
}

#[test]
fn a_request_older_than_it_may_be() {
    let mut story = Story::begun(Federation::new());
    let parties = parties(OFFICE, POPULATION, 1);
    let request = story.first_request(&parties);
    story.ledger.clock += 400;
    let index = story.receive(&request);
    only(&story.audit(), Check::Times, index, "400 seconds before");
}

#[test]
fn a_clock_that_was_set_back() {
    let mut story = Story::begun(Federation::new());
    story.answer_unary(1);
    story.ledger.clock -= 400;
    let [index, _] = story.answer_unary(2);
    only(
        &story.audit(),
        Check::Times,
        index,
        "behind the newest request",
    );

    let accepted = ClockAccepted {
        unix_user: 0,
        clock: story.ledger.now(),
        newest_record: NOW,
    };
    let mut story = Story::begun(Federation::new());
    story.answer_unary(1);
    story.ledger.clock -= 400;
    story
        .ledger
        .local(RecordKind::Clock, accepted.encode_to_vec());
    story.answer_unary(2);
    assert!(story.audit().holds());
}

#[test]
fn a_record_made_after_the_audit() {
    let mut story = Story::truthful();
    story.ledger.clock += 3 * 86_400;
    story.consume(20);
    let report = story.audit();
    assert!(
        report
            .findings()
            .iter()
            .all(|finding| finding.check == Check::Times),
        "{report}"
    );
    assert_eq!(report.findings().len(), 2);
}

// Exchanges.

#[test]
fn an_exchange_recorded_twice() {
    let mut story = Story::truthful();
    let [request, reply] = story.unary;
    let repeated = [request, reply].map(|index| story.ledger.entries[index as usize].clone());
    let again = repeated.map(|entry| story.ledger.push(entry));
    only(&story.audit(), Check::Once, again[0], "was opened before");
}

#[test]
fn a_removed_request() {
    let mut story = Story::truthful();
    let [request, _] = story.unary;
    story.ledger.entries.remove(request as usize);
    only(
        &story.audit(),
        Check::Order,
        request,
        "no first request recorded before it",
    );
}

#[test]
fn a_removed_reply_of_a_stream() {
    let mut story = Story::truthful();
    let index = story.stream[2];
    story.ledger.entries.remove(index as usize);
    only(
        &story.audit(),
        Check::Order,
        index,
        "reply 2 came where 1 was due",
    );
}

#[test]
fn a_reply_to_another_request() {
    let mut story = Story::begun(Federation::new());
    let (ours, others) = (parties(DESK, OFFICE, 1), parties(DESK, OFFICE, 2));
    let (request, other) = (story.first_request(&ours), story.first_request(&others));
    story.record(&request);
    let reply = story
        .reply(&ours, None, &other)
        .last()
        .signed(&story.federation.commune);
    let index = story.record(&reply);
    only(&story.audit(), Check::Order, index, "another first request");
}

#[test]
fn a_request_after_the_closing_record() {
    let mut story = Story::truthful();
    let [received, ..] = story.cut;
    let first = &story.ledger.entries[received as usize];
    let header = trust::header::Header::parse(&first.header).unwrap();
    let previous = Digest::of(b"whatever came before");
    let mut draft = fixture::ledger::draft(
        &header.parties,
        Direction::Request,
        None,
        story.ledger.now(),
        story.published.serial,
    );
    (draft.header.sequence, draft.header.previous) = (1, Some(previous));
    let message = draft.signed(&story.federation.commune);
    let index = story.receive(&message);
    only(
        &story.audit(),
        Check::Order,
        index,
        "follows the closing record",
    );
}

#[test]
fn a_withdrawn_right() {
    let mut story = Story::truthful();
    story.ledger.change(&withdraw("lookup"));
    story.ledger.clock += 60;
    let [request, reply] = story.answer_unary(20);
    let report = story.audit();
    let failed: Vec<_> = report
        .findings()
        .iter()
        .map(|finding| (finding.check, finding.record))
        .collect();
    let expected = [(Check::Rights, Some(request)), (Check::Rights, Some(reply))];
    assert_eq!(failed, expected, "{report}");
    assert!(
        report.findings()[0].problem.contains("withdrew"),
        "{report}"
    );
}

#[test]
fn a_decision_that_overlaps_the_withdrawal_is_said_and_no_failure() {
    let mut story = Story::truthful();
    story.ledger.change(&withdraw("lookup"));
    story.answer_unary(20);
    let report = story.audit();
    assert!(report.holds(), "{report}");
    assert_eq!(report.facts.overlapping_decisions, 2);
}

#[test]
fn an_accepted_request_without_a_right() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    story.ledger.entries[index as usize].annex.access_right = None;
    only(
        &story.audit(),
        Check::Rights,
        index,
        "names no access right",
    );
}

#[test]
fn a_right_that_is_another_record() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    story.ledger.entries[index as usize].annex.access_right = Some(1);
    only(
        &story.audit(),
        Check::Rights,
        index,
        "grants no access right",
    );
}

#[test]
fn a_right_that_does_not_cover_the_method() {
    let mut story = Story::begun(Federation::new());
    story.right = story.ledger.change(&grant("other", &["Delete"]));
    let [request, _] = story.answer_unary(1);
    only(&story.audit(), Check::Rights, request, "covers only Delete");
}

#[test]
fn a_refused_request_that_was_answered() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.decision = "provider.access_denied".to_owned();
    entry.annex.access_right = None;
    only(
        &story.audit(),
        Check::Refusals,
        story.unary[1],
        "answered all the same",
    );
}

#[test]
fn a_refusal_for_another_reason() {
    let mut story = Story::truthful();
    let index = story.refused[0];
    let entry = &mut story.ledger.entries[index as usize];
    entry.annex.decision = "provider.right_expired".to_owned();
    only(
        &story.audit(),
        Check::Refusals,
        story.refused[1],
        "the reply says",
    );
}

#[test]
fn a_closing_record_that_names_another_message() {
    let mut story = Story::begun(Federation::new());
    let parties = parties(DESK, OFFICE, 1);
    let request = story.first_request(&parties);
    story.record(&request);
    let mut closing = closing("consumer", &request, None);
    closing.request_digest = Digest::of(b"another").to_bytes();
    let index = story.ledger.closing(&closing);
    only(&story.audit(), Check::Closings, index, "is recorded");
}

#[test]
fn a_closing_record_of_an_exchange_that_is_not_open() {
    let mut story = Story::truthful();
    let parties = parties(DESK, OFFICE, 30);
    let request = story.first_request(&parties);
    let index = story.ledger.closing(&closing("consumer", &request, None));
    only(&story.audit(), Check::Closings, index, "is not open");
}

// What the server adds.

#[test]
fn a_local_record_that_does_not_parse() {
    let mut story = Story::truthful();
    let index = story
        .ledger
        .local(RecordKind::Change, Bytes::from_static(b"\xff\xff\xff"));
    only(&story.audit(), Check::LocalForms, index, "does not parse");
}

#[test]
fn an_entry_of_a_registry_in_a_message_log() {
    let mut story = Story::truthful();
    let index = story.ledger.local(RecordKind::Entry, Bytes::new());
    only(
        &story.audit(),
        Check::LocalForms,
        index,
        "no record of kind 12",
    );
}

#[test]
fn a_change_that_cannot_be_made() {
    let mut story = Story::truthful();
    let index = story.ledger.change(&withdraw("never granted"));
    only(&story.audit(), Check::Changes, index, "nothing to remove");
}

#[test]
fn many_failures_are_counted_beyond_the_limit() {
    let mut story = Story::truthful();
    for _ in 0..auditor::FINDINGS_LIMIT + 20 {
        story
            .ledger
            .local(RecordKind::Change, Bytes::from_static(b"\xff"));
    }
    let report = story.audit();
    assert_eq!(report.findings().len(), auditor::FINDINGS_LIMIT);
    assert_eq!(report.failures(), auditor::FINDINGS_LIMIT as u64 + 20);
    assert!(report.to_string().contains("and 20 more"), "{report}");
}
