//! The global configuration.

use super::*;

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
fn an_old_publication_under_a_new_checkpoint() {
    let mut story = Story::truthful();
    let federation = &story.federation;
    let newer = federation.publish(12, &federation.registrations());
    let state = story.published.state.clone();
    // The publication of serial 9 once more, in a log that has got 20 entries.
    let old = federation.publish_at(20, 8, state, [NOW - 60, NOW + 7 * 86_400]);
    assert_eq!(old.verified(federation).index(), 8);
    story.ledger.local(RecordKind::Head, newer.head);
    // Two that were fetched at the same time can be recorded in either order.
    story.ledger.local(RecordKind::Head, old.head.clone());
    let report = story.audit();
    assert!(report.holds(), "{report}");
    story.ledger.entries.pop();
    story.ledger.clock += 60;
    let index = story.ledger.local(RecordKind::Head, old.head);
    only(
        &story.audit(),
        Check::Serials,
        index,
        "serial 20 names publication 8, recorded after publication 11",
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
