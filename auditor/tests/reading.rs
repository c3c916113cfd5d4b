//! `auditor list` and `show`: what was asked for is found, with and without an index, and readable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use bytes::Bytes;
use fixture::{
    NOW, PEER,
    ledger::parties,
    story::{DESK, OFFICE, POPULATION, Story},
};
use prost::Message;
use serde_json::Value;
use trust::{
    Content, ExchangeId,
    header::Statements,
    wire::evidence::{
        Closing, MessageContent, MessageHeader, PeerCheckpoint, RecordKind, SecurityEvent,
    },
};

/// A log on disk, and a place for an index.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(story: &Story) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        story
            .ledger
            .write(&log, &story.federation, &story.federation.log_key);
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_auditor"))
            .arg(command)
            .arg(self.path("log"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// The first records of the exchanges found; the same by an index as without.
    fn listed(&self, arguments: &[&str]) -> Vec<u64> {
        let index = self.path("index");
        let plain = [arguments, &["--json"]].concat();
        let with_index = [&plain[..], &["--index", index.to_str().unwrap()]].concat();
        let [plain, indexed] = [plain, with_index].map(|arguments| {
            let output = self.run("list", &arguments);
            let found: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
            let found = found["exchanges"].as_array().unwrap().clone();
            assert_eq!(output.status.code(), Some(i32::from(found.is_empty())));
            found
        });
        assert_eq!(plain, indexed, "{arguments:?}");
        let first = |found: &Value| found["record"].as_u64().unwrap();
        plain.iter().map(first).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn id(number: u64) -> String {
    ExchangeId::from_parts(NOW as u64 * 1000 + number, &[number as u8; 10]).to_string()
}

/// The usual story, and one exchange whose caller says much.
fn story() -> (Story, u64) {
    let mut story = Story::truthful();
    story.ledger.clock = 1000;
    let mut request = story.request(&parties(OFFICE, POPULATION, 9), None).last();
    request.header.statements = Statements {
        request_id: "desk-4711".to_owned(),
        case_number: "H37-2026-000123".to_owned(),
        user: "clerk\u{1b}[31m".to_owned(),
        purpose: "birth registration".to_owned(),
        ..Statements::default()
    };
    // Field 1 of a LookUp request: "079203012345".
    request.content = Content::encode(&MessageContent {
        salt: Bytes::from(vec![9; 16]),
        message: Some(Bytes::from_static(b"\x0a\x0c079203012345")),
        ..MessageContent::default()
    });
    request.header.content_digest = request.content.digest();
    let request = request.signed(&story.federation.commune);
    let talkative = story.receive(&request);
    let reply = story.reply(&parties(OFFICE, POPULATION, 9), None, &request);
    let mut reply = reply.last();
    reply.header.status_code = Some(5);
    let reply = reply.signed(&story.federation.ministry);
    story.record(&reply);
    (story, talkative)
}

#[test]
fn exchanges_are_found_by_everything_that_an_auditor_asks_with() {
    let (story, talkative) = story();
    let case = Case::new(&story);
    let answered = [
        story.unary[0],
        story.stream[0],
        story.consumed[0],
        talkative,
    ];
    let all = [
        story.unary[0],
        story.stream[0],
        story.refused[0],
        story.consumed[0],
        story.cut[0],
        story.lost[0],
        talkative,
    ];
    let (cut, lost) = (id(5), id(6));
    for (arguments, expected) in [
        (&[][..], &all[..]),
        (&["--exchange", &cut], &[story.cut[0]]),
        (&["--exchange", &lost], &[story.lost[0]]),
        (&["--id", "desk-4711"], &[talkative]),
        (&["--id", "desk-4712"], &[]),
        (&["--case", "H37-2026-000123"], &[talkative]),
        (&["--since", "2027-01-15T08:10:00Z"], &[talkative]),
        (&["--until", "2027-01-15T08:10:00Z"], &all[..6]),
        (&["--client", DESK], &[story.consumed[0], story.lost[0]]),
        (&["--service", OFFICE], &[story.consumed[0], story.lost[0]]),
        (&["--peer", PEER], &all),
        (&["--peer", "VN/GOV/NOBODY/server-1"], &[]),
        (&["--method", "Delete"], &[story.refused[0]]),
        (
            &["--method", "vn.population.v1.Population/Delete"],
            &[story.refused[0]],
        ),
        (&["--outcome", "answered"], &answered),
        (&["--outcome", "OK"], &answered[..3]),
        (&["--outcome", "NOT_FOUND"], &[talkative]),
        (&["--outcome", "refused"], &[story.refused[0]]),
        (
            &["--outcome", "provider.method_not_allowed"],
            &[story.refused[0]],
        ),
        (&["--outcome", "closed"], &[story.cut[0], story.lost[0]]),
        (&["--outcome", "peer_lost"], &[story.cut[0], story.lost[0]]),
        (&["--outcome", "open"], &[]),
        (&["--limit", "2"], &[story.lost[0], talkative]),
        (
            &["--client", OFFICE, "--outcome", "closed"],
            &[story.cut[0]],
        ),
    ] {
        assert_eq!(case.listed(arguments), expected, "{arguments:?}");
    }
}

#[test]
fn the_list_is_readable_and_keeps_control_characters_from_the_terminal() {
    let (story, _) = story();
    let case = Case::new(&story);
    let printed = text(&case.run("list", &["--id", "desk-4711"]).stdout);
    for part in [
        "2027-01-15T08:16:40.5Z",
        &id(9),
        "answered NOT_FOUND",
        "VN/GOV/COMMUNE/office calls VN/GOV/MINISTRY/population vn.population.v1.Population/LookUp",
        "1 + 1 messages",
        "x-road-issue: H37-2026-000123",
        "1 found; listed, not verified.",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "{printed}");
    let printed = text(&case.run("list", &["--limit", "3"]).stdout);
    assert!(
        printed.contains("3 listed, not verified; 4 older ones"),
        "{printed}"
    );
}

/// Whoever writes a log, or is written about in it, must not write to the auditor's terminal.
#[test]
fn what_a_log_says_never_commands_a_terminal() {
    const HOSTILE: &str = "\u{1b}]0;x\u{7}\u{9b}2J\r\u{202e}";
    let mut story = Story::truthful();
    let [_, closing] = story.lost;
    let entry = &mut story.ledger.entries[closing as usize];
    let mut closed = Closing::decode(entry.header.clone()).unwrap();
    closed.outcome = HOSTILE.to_owned();
    closed.reason = HOSTILE.to_owned();
    entry.header = closed.encode_to_vec().into();
    let [refused, _] = story.refused;
    story.ledger.entries[refused as usize].annex.decision = HOSTILE.to_owned();
    let early = SecurityEvent {
        refusal_code: HOSTILE.to_owned(),
        peer: HOSTILE.to_owned(),
        exchange_id: ExchangeId::from_parts(1, &[7; 10])
            .as_bytes()
            .to_vec()
            .into(),
        count: 1,
        ..SecurityEvent::default()
    };
    let ledger = &mut story.ledger;
    ledger.local(RecordKind::Security, early.encode_to_vec());
    let given = PeerCheckpoint {
        origin: HOSTILE.to_owned(),
        ..PeerCheckpoint::default()
    };
    ledger.local(RecordKind::PeerCheckpoint, given.encode_to_vec());
    let given = PeerCheckpoint {
        origin: format!("{PEER}/1"),
        verdict: HOSTILE.to_owned(),
        ..PeerCheckpoint::default()
    };
    ledger.local(RecordKind::PeerCheckpoint, given.encode_to_vec());
    let content = MessageContent {
        salt: Bytes::from(vec![7; 16]),
        // Field 1: a map with one entry, whose key is hostile.
        message: Some([&[10, 16, 10, 14][..], HOSTILE.as_bytes()].concat().into()),
        ..MessageContent::default()
    };
    let parties = parties(OFFICE, POPULATION, 30);
    let mut request = story.request(&parties, None).last();
    request.content = Content::encode(&content);
    request.header.content_digest = request.content.digest();
    let index = story.receive(&request.signed(&story.federation.commune));
    let case = Case::new(&story);
    fs::write(
        case.path("map.proto"),
        r#"syntax = "proto3";
        package vn.population.v1;
        service Population { rpc LookUp(Named) returns (Named); }
        message Named { map<string, string> values = 1; }
        "#,
    )
    .unwrap();
    fs::write(case.path("anchor.json"), story.federation.anchor.to_json()).unwrap();
    let (proto, anchor) = (case.path("map.proto"), case.path("anchor.json"));
    let (proto, anchor) = (proto.to_str().unwrap(), anchor.to_str().unwrap());
    let at = ["--anchor", anchor, "--at", "2027-01-16T00:00:00Z"];
    let mut printed = vec![case.run("verify", &at), case.run("list", &[])];
    for record in [closing, refused, index, index - 1, index - 3] {
        let record = record.to_string();
        printed.push(case.run("show", &["--record", &record, "--descriptor", proto]));
    }
    for output in printed {
        let printed = text(&output.stdout);
        assert!(output.stderr.is_empty(), "{output:?}");
        assert!(
            printed.contains("\\u{1b}]0;x\\u{7}\\u{9b}2J\\r\\u{202e}"),
            "{printed}"
        );
        let commands = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!printed.contains(commands), "{printed:?}");
    }
}

#[test]
fn a_time_beyond_all_years_is_shown() {
    let mut story = Story::truthful();
    let index = story.unary[0];
    let entry = &mut story.ledger.entries[index as usize];
    let mut header = MessageHeader::decode(entry.header.clone()).unwrap();
    header.created_at = i64::MAX;
    entry.header = header.encode_to_vec().into();
    let case = Case::new(&story);
    let output = case.run("show", &["--record", &index.to_string()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("{} ms", i64::MAX)), "{shown}");
}

#[test]
fn an_open_exchange_and_a_call_refused_early_are_listed() {
    let mut story = Story::truthful();
    let event = SecurityEvent {
        refusal_code: "consumer.unknown_client".to_owned(),
        reason: "nobody of that name is hosted here".to_owned(),
        peer: "a client at 127.0.0.1".to_owned(),
        exchange_id: Bytes::copy_from_slice(
            ExchangeId::from_parts(NOW as u64 * 1000 + 20, &[20; 10]).as_bytes(),
        ),
        count: 1,
    };
    let refused = story
        .ledger
        .local(RecordKind::Security, event.encode_to_vec());
    let request = story.first_request(&parties(OFFICE, POPULATION, 21));
    let open = story.receive(&request);
    let case = Case::new(&story);
    assert_eq!(case.listed(&["--outcome", "open"]), [open]);
    assert_eq!(
        case.listed(&["--outcome", "consumer.unknown_client"]),
        [refused]
    );
    let early = id(20);
    assert_eq!(case.listed(&["--exchange", &early]), [refused]);
    let shown = text(&case.run("show", &[&early]).stdout);
    assert!(
        shown.contains("nobody of that name is hosted here"),
        "{shown}"
    );
}

#[test]
fn an_exchange_is_shown_with_its_messages_decoded() {
    let (story, talkative) = story();
    let case = Case::new(&story);
    fs::write(
        case.path("population.proto"),
        r#"syntax = "proto3";
        package vn.population.v1;
        service Population { rpc LookUp(Number) returns (Person); }
        message Number { string number = 1; }
        message Person { string name = 1; }
        "#,
    )
    .unwrap();
    let proto = case.path("population.proto");
    let output = case.run("show", &[&id(9), "--descriptor", proto.to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for part in [
        "type: vn.population.v1.Number",
        "number: 079203012345",
        "type: vn.population.v1.Person",
        "unreadable:",
        "status: NOT_FOUND",
        "x-road-purpose: birth registration",
        "allowed_by_record:",
        "Shown, not verified.",
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
    assert!(!printed.contains('\u{1b}'), "{printed}");

    // The same by an index, and as JSON.
    let index = case.path("index");
    let with_index = [&id(9), "--json", "--index", index.to_str().unwrap()];
    let shown: Value = serde_json::from_slice(&case.run("show", &with_index).stdout).unwrap();
    assert_eq!(shown["records"].as_array().unwrap().len(), 2);
    assert_eq!(shown["records"][0]["record"], talkative);
    assert_eq!(shown["records"][0]["header"]["exchange"], id(9));
}

#[test]
fn every_record_of_the_story_can_be_shown() {
    let (story, _) = story();
    let case = Case::new(&story);
    for index in 0..story.ledger.next_index() {
        let output = case.run("show", &["--record", &index.to_string()]);
        let printed = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            printed.starts_with(&format!("record: {index}\nkind: ")),
            "{printed}"
        );
        assert!(!printed.contains("unreadable"), "{printed}");
    }
    let beyond = story.ledger.next_index().to_string();
    let output = case.run("show", &["--record", &beyond]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn wrong_use_exits_with_2() {
    let case = Case::new(&Story::truthful());
    for (command, arguments) in [
        ("show", &[][..]),
        ("show", &["not an exchange id"]),
        (
            "show",
            &["--record", "1", "--descriptor", "/does/not/exist"],
        ),
        ("list", &["--since", "yesterday"]),
        ("list", &["--exchange", "4711"]),
    ] {
        let output = case.run(command, arguments);
        assert_eq!(output.status.code(), Some(2), "{command} {arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    fs::remove_dir_all(case.path("log")).unwrap();
    assert_eq!(case.run("list", &[]).status.code(), Some(2));
}
