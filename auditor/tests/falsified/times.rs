//! When messages and records were made.

use super::*;

#[test]
fn a_request_older_than_it_may_be() {
    let mut story = Story::begun(Federation::new());
    let parties = parties(OFFICE, POPULATION, 1);
    let request = story.first_request(&parties);
    story.ledger.clock += 400;
    let index = story.receive(&request);
    only(&story.audit(), Check::Times, index, "400 seconds before");
}

/// An id is remembered for ten minutes: after that only its own time tells that it is not new.
#[test]
fn an_exchange_id_opened_again_when_nobody_remembers_it() {
    for (later, holds) in [(310, true), (311, false), (3600, false)] {
        let mut story = Story::begun(Federation::new());
        let parties = parties(OFFICE, POPULATION, 1);
        story.ledger.clock += later;
        let request = story.first_request(&parties);
        let index = story.receive(&request);
        let report = story.audit();
        if holds {
            assert!(report.holds(), "{report}");
        } else {
            only(&report, Check::Times, index, "the exchange id was made");
        }
    }
}

#[test]
fn a_clock_that_was_set_back() {
    let mut story = Story::begun(Federation::new());
    story.ledger.clock = 200;
    story.answer_unary(1);
    story.ledger.clock -= 400;
    let [request, reply] = story.answer_unary(2);
    let report = story.audit();
    let expected = [(Check::Times, Some(request)), (Check::Times, Some(reply))];
    assert_eq!(places(&report), expected, "{report}");
    assert!(
        report.findings()[0]
            .problem
            .contains("stood 400 seconds behind the newest record"),
        "{report}"
    );

    let accepted = ClockAccepted {
        unix_user: 0,
        clock: NOW - 199,
        newest_record: NOW,
    };
    let mut story = Story::begun(Federation::new());
    story.ledger.clock = 200;
    story.answer_unary(1);
    story.ledger.clock -= 400;
    story
        .ledger
        .local(RecordKind::Clock, accepted.encode_to_vec());
    story.answer_unary(2);
    let report = story.audit();
    assert!(report.holds(), "{report}");
}

/// The newest time is that of any record, not only of first requests that were received.
#[test]
fn a_message_dated_back_behind_any_record() {
    for (back, holds) in [(310, true), (311, false)] {
        let mut story = Story::begun(Federation::new());
        story.ledger.clock = 300;
        let event = SecurityEvent::default().encode_to_vec();
        story.ledger.local(RecordKind::Security, event.clone());
        story.ledger.clock -= back;
        let [request, reply] = story.consume(1);
        story.ledger.local(RecordKind::Security, event);
        let report = story.audit();
        if holds {
            assert!(report.holds(), "{report}");
            continue;
        }
        let expected = [(Check::Times, Some(request)), (Check::Times, Some(reply))];
        assert_eq!(places(&report), expected, "{report}");
        // A server whose clock stands behind says so in local records.
        let said = format!("the first is record {}", reply + 1);
        assert!(report.to_string().contains(&said), "{report}");
    }
}

#[test]
fn a_local_record_made_after_the_audit() {
    let mut story = Story::truthful();
    story.ledger.clock = 86_400 + 301;
    let event = SecurityEvent::default().encode_to_vec();
    let index = story.ledger.local(RecordKind::Security, event);
    only(
        &story.audit(),
        Check::Annexes,
        index,
        "301 seconds after the time of this audit",
    );
}

/// What was withdrawn or replaced before stays so, whatever time a message is given afterwards.
#[test]
fn a_message_dated_back_before_what_it_was_decided_by_was_replaced() {
    let mut story = Story::truthful();
    story.ledger.change(&withdraw("lookup"));
    story.ledger.clock += 60;
    let event = SecurityEvent::default().encode_to_vec();
    story.ledger.local(RecordKind::Security, event.clone());
    story.ledger.clock -= 60;
    let [request, reply] = story.answer_unary(20);
    let report = story.audit();
    let expected = [(Check::Rights, Some(request)), (Check::Rights, Some(reply))];
    assert_eq!(places(&report), expected, "{report}");

    let mut story = Story::truthful();
    let registrations = story.federation.registrations();
    let newer = story.federation.publish(12, &registrations);
    story.ledger.configuration(&newer);
    story.ledger.clock += 60;
    story.ledger.local(RecordKind::Security, event);
    story.ledger.clock -= 60;
    let [request, reply] = story.consume(20);
    let report = story.audit();
    let expected = [
        (Check::InForce, Some(request)),
        (Check::InForce, Some(reply)),
    ];
    assert_eq!(places(&report), expected, "{report}");
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
