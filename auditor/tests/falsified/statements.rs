//! What the server adds.

use super::*;

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
