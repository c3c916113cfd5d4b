//! The built command: exit codes, the table, and the same facts as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fixture::story::{Story, withdraw};
use serde_json::Value;

struct Case {
    folder: tempfile::TempDir,
    log: PathBuf,
    anchor: PathBuf,
}

fn case(story: &Story) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let (log, anchor) = (folder.path().join("log"), folder.path().join("anchor.json"));
    story
        .ledger
        .write(&log, &story.federation, &story.federation.log_key);
    fs::write(&anchor, story.federation.anchor.to_json()).unwrap();
    Case {
        folder,
        log,
        anchor,
    }
}

fn lying() -> Story {
    let mut story = Story::truthful();
    story.ledger.change(&withdraw("never granted"));
    story
}

/// Runs `auditor verify` at the time of the fixture.
fn verify(logs: &[&Path], anchor: &Path, options: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_auditor"))
        .arg("verify")
        .args(logs)
        .arg("--anchor")
        .arg(anchor)
        .args(["--at", "2027-01-16T00:00:00Z"])
        .args(options)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_truthful_log_exits_with_0_and_a_table() {
    let case = case(&Story::truthful());
    let output = verify(&[&case.log], &case.anchor, &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("signature verifies "), "{printed}");
    assert!(printed.ends_with("All checks hold: VN/GOV/MINISTRY/server-1/1, 33 records.\n"));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_lying_log_exits_with_1_and_names_record_and_check() {
    let (truthful, lying) = (case(&Story::truthful()), case(&lying()));
    let output = verify(&[&lying.log], &lying.anchor, &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("record 33: there is nothing to remove [server.change]"),
        "{printed}"
    );

    // One of several logs is enough; this one is under another anchor.
    let output = verify(&[&truthful.log, &lying.log], &truthful.anchor, &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("All checks hold"), "{printed}");
    assert!(printed.contains("kept under another anchor"), "{printed}");
    drop(lying.folder);
}

#[test]
fn the_json_says_the_same() {
    let (truthful, lying) = (case(&Story::truthful()), case(&lying()));
    let output = verify(&[&truthful.log], &truthful.anchor, &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["holds"], true);
    assert_eq!(
        (&json["records"], &json["records_after_checkpoint"]),
        (&33.into(), &0.into())
    );
    assert_eq!(json["logs"][0]["log"], "VN/GOV/MINISTRY/server-1/1");
    assert_eq!(json["logs"][0]["facts"]["exchanges_answered"], 4);
    let checks = json["logs"][0]["checks"].as_array().unwrap();
    let signatures = checks
        .iter()
        .find(|check| check["check"] == "messages.signature")
        .unwrap();
    assert_eq!(
        (&signatures["held"], &signatures["failed"]),
        (&13.into(), &0.into())
    );

    let output = verify(&[&lying.log], &lying.anchor, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["holds"], false);
    let finding = &json["logs"][0]["findings"][0];
    assert_eq!(
        (&finding["check"], &finding["record"]),
        (&"server.change".into(), &33.into())
    );
}

#[test]
fn wrong_use_exits_with_2_and_says_why() {
    let case = case(&Story::truthful());
    let nowhere = case.folder.path().join("nowhere");
    for (log, anchor, why) in [
        (&nowhere, &case.anchor, "there is no log to audit"),
        (&case.log, &nowhere, "cannot read the anchor"),
        (&case.log, &case.log.join("identity"), "is no anchor"),
    ] {
        let output = verify(&[log], anchor, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
        assert!(output.stdout.is_empty());
    }
    let output = Command::new(env!("CARGO_BIN_EXE_auditor"))
        .arg("verify")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn of_several_logs_each_that_can_be_read_is_reported() {
    let (truthful, lying) = (case(&Story::truthful()), case(&lying()));
    let nowhere = truthful.folder.path().join("nowhere");
    let logs: [&Path; 2] = [&nowhere, &truthful.log];
    let output = verify(&logs, &truthful.anchor, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("All checks hold"));
    assert!(text(&output.stderr).contains("there is no log to audit"));
    let output = verify(&logs, &truthful.anchor, &["--json"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["holds"], &json["logs"][0]["holds"]),
        (&false.into(), &true.into())
    );
    assert_eq!(json["unread"].as_array().unwrap().len(), 1);

    // One that fails is worse.
    let logs: [&Path; 3] = [&nowhere, &truthful.log, &lying.log];
    let output = verify(&logs, &truthful.anchor, &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains("All checks hold"), "{printed}");
    assert!(printed.contains("kept under another anchor"), "{printed}");
}

#[test]
fn the_time_of_the_audit_is_asked() {
    let case = case(&Story::truthful());
    let output = Command::new(env!("CARGO_BIN_EXE_auditor"))
        .arg("verify")
        .arg(&case.log)
        .arg("--anchor")
        .arg(&case.anchor)
        .args(["--at", "2027-01-14T00:00:00Z"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("after the time of this audit"));
}
