//! Damaged files: flipped bits are named or irrelevant, never a panic; cut tails are compared.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{
    fs,
    path::{Path, PathBuf},
};

use auditor::{Check, Report};
use fixture::{
    ledger::{append, options},
    story::Story,
};
use verifiable_log::Log;

fn written(story: &Story, folder: &Path) -> PathBuf {
    let log = folder.join("log");
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    log
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<_> = fs::read_dir(log.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    segments.sort();
    segments
}

/// Audits with one bit flipped, and puts it back. No report: the folder is no log to audit.
fn audit_flipped(story: &Story, log: &Path, file: &Path, offset: usize, bit: u8) -> Option<Report> {
    let bytes = fs::read(file).unwrap();
    let mut flipped = bytes.clone();
    flipped[offset] ^= 1 << bit;
    fs::write(file, flipped).unwrap();
    let anchor = &story.federation.anchor;
    let report = auditor::audit(log, anchor, fixture::NOW + 86_400, &mut |_| {}).ok();
    fs::write(file, bytes).unwrap();
    report
}

#[test]
fn a_flipped_bit_of_a_segment_is_named_unless_it_lies_behind_the_last_record() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = written(&story, folder.path());
    let segments = segments(&log);
    assert!(segments.len() > 1, "the log has several segments");
    let mut behind = 0;
    // A fixed sequence that looks random (Knuth's constants).
    let mut random: u64 = 20_260_115;
    for _ in 0..250 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let file = &segments[(random >> 40) as usize % segments.len()];
        let length = fs::metadata(file).unwrap().len();
        let offset = ((random >> 20) % length) as usize;
        let report = audit_flipped(&story, &log, file, offset, (random >> 17 & 7) as u8).unwrap();
        if report.holds() {
            // Zeros behind the last record: a batch that is being written may stand there.
            behind += 1;
            assert_eq!(Some(file), segments.last(), "offset {offset}: {report}");
            assert_eq!(report.facts.records, 33, "offset {offset}: {report}");
            assert!(
                report.notes.iter().any(|note| note.contains("not whole")),
                "{report}"
            );
        } else {
            let finding = &report.findings()[0];
            assert!(
                matches!(finding.check, Check::Records | Check::Root),
                "{report}"
            );
            assert!(finding.record.is_some(), "{report}");
        }
    }
    assert!(behind < 125, "most flipped bits are named");
}

#[test]
fn a_flipped_bit_of_the_identity_or_the_checkpoint_is_named() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = written(&story, folder.path());
    for name in ["identity", "checkpoint"] {
        let file = log.join(name);
        for offset in 0..fs::metadata(&file).unwrap().len() as usize {
            let report = audit_flipped(&story, &log, &file, offset, (offset % 8) as u8);
            assert!(
                report.is_none_or(|report| !report.holds()),
                "{name}, offset {offset}"
            );
        }
    }
}

#[test]
fn damage_is_named_by_place_and_what_follows_is_said_to_be_unchecked() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = written(&story, folder.path());
    let report = audit_flipped(&story, &log, &segments(&log)[0], 1000, 3).unwrap();
    let finding = &report.findings()[0];
    assert_eq!(finding.check, Check::Records, "{report}");
    assert_eq!(finding.place.unwrap().segment, 0, "{report}");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("nothing of it was checked")),
        "{report}"
    );
    assert_eq!(report.tally(Check::Root).unchecked, 1, "{report}");
}

#[test]
fn a_missing_segment_is_named() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = written(&story, folder.path());
    fs::remove_file(&segments(&log)[0]).unwrap();
    let report = story.audit_in(&log);
    assert_eq!(report.findings()[0].check, Check::Records, "{report}");
    assert!(
        report.findings()[0]
            .problem
            .contains("a segment is missing"),
        "{report}"
    );
}

#[test]
fn a_half_written_end_is_said_then_cut_and_compared_with_its_record() {
    let story = Story::truthful();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (signed, last) = story.ledger.entries.split_at(30);
    {
        let open = story.ledger.open_new(&log, &story.federation);
        append(&open, signed);
        open.checkpoint(&story.federation.log_key).unwrap();
        append(&open, last);
    }
    // As a crash leaves it: the last batch is on disk but for one sector.
    let segment = segments(&log).pop().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let report = story.audit_in(&log);
    assert!(report.holds(), "{report}");
    assert!(report.facts.records < 33, "{report}");
    assert!(
        report.notes.iter().any(|note| note.contains("not whole")),
        "{report}"
    );

    drop(Log::open(&log, options(), &mut |_| {}).unwrap());
    let report = story.audit_in(&log);
    assert!(report.holds(), "{report}");
    assert_eq!(report.tally(Check::TornFiles).held, 1, "{report}");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("stated by record")),
        "{report}"
    );

    let torn = fs::read_dir(&log)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "torn")
        })
        .unwrap();
    let mut bytes = fs::read(&torn).unwrap();
    bytes[0] ^= 1;
    fs::write(&torn, bytes).unwrap();
    let report = story.audit_in(&log);
    assert_eq!(report.findings().len(), 1, "{report}");
    assert_eq!(report.findings()[0].check, Check::TornFiles, "{report}");

    fs::remove_file(&torn).unwrap();
    let report = story.audit_in(&log);
    assert!(report.holds(), "{report}");
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.contains("no longer kept")),
        "{report}"
    );
}
