//! The tree and its checkpoint.

use super::*;

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
    ledger.entries[story.right as usize].annex.salt = Bytes::from_static(b"another");
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
    let index = membership_of(&story.ledger, "log/GOV/MINISTRY");
    blank(&mut story.ledger, index);
    only_log(&story.audit(), Check::Checkpoint, "not anchored");
}
