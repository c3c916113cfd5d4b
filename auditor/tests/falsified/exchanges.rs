//! The messages of one exchange together.

use super::*;

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
    // What stands behind it has moved away from where it was promised.
    only_and_promises(
        &story.audit(),
        Check::Order,
        request,
        "no first request recorded before it",
        4,
    );
}

#[test]
fn a_removed_reply_of_a_stream() {
    let mut story = Story::truthful();
    let index = story.stream[2];
    story.ledger.entries.remove(index as usize);
    // What stands behind it has moved away from where it was promised.
    only_and_promises(
        &story.audit(),
        Check::Order,
        index,
        "reply 2 came where 1 was due",
        1,
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
    let header = Header::parse(&first.header).unwrap();
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
    only_and_promises(
        &story.audit(),
        Check::Rights,
        index,
        "names no access right",
        1,
    );
}

#[test]
fn a_right_that_is_another_record() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    story.ledger.entries[index as usize].annex.access_right = Some(1);
    only_and_promises(
        &story.audit(),
        Check::Rights,
        index,
        "grants no access right",
        1,
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
    only_and_promises(
        &story.audit(),
        Check::Refusals,
        story.unary[1],
        "answered all the same",
        1,
    );
}

#[test]
fn a_refused_request_of_a_closed_exchange_without_its_refusal() {
    let mut story = Story::truthful();
    let [_, refusal] = story.refused;
    let reply = Header::parse(&story.ledger.entries[refusal as usize].header).unwrap();
    let asked = reply.answers.unwrap().first_request;
    let mut closing = Closing {
        exchange_id: Bytes::copy_from_slice(reply.parties.exchange.as_bytes()),
        outcome: "peer_lost".to_owned(),
        request_sequence: Some(0),
        request_digest: asked.to_bytes(),
        side: "provider".to_owned(),
        ..Default::default()
    };
    let end = |story: &mut Story, closing: &Closing| {
        let entry = &mut story.ledger.entries[refusal as usize];
        entry.kind = RecordKind::Closing;
        entry.annex = Annex {
            kind: RecordKind::Closing.into(),
            stage: Stage::Local.into(),
            ..entry.annex.clone()
        };
        (entry.header, entry.signature) = (closing.encode_to_vec().into(), Bytes::new());
    };
    end(&mut story, &closing);
    only(&story.audit(), Check::Refusals, refusal, "no reply says so");

    // A crash can part the two, and the next start closes what it finds open.
    closing.outcome = "unknown".to_owned();
    end(&mut story, &closing);
    let report = story.audit();
    assert!(report.holds(), "{report}");
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
