//! Evidence containers: what a log proves of one exchange holds alone, and nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod fixture;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use fixture::{
    Federation, NOW,
    ledger::{append, parties},
    story::{DESK, OFFICE, POPULATION, Story, grant, withdraw},
};
use prost::Message;
use trust::{
    ExchangeId,
    wire::evidence::{Erased, RecordKind, SecurityEvent, change::Value},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

type Files = BTreeMap<String, Vec<u8>>;

const RECORDS: &str = "META-INF/evidence/records.json";

/// A log on disk and the anchor.
struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(story: &Story) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let case = Self { folder };
        story.ledger.write(
            &case.path("log"),
            &story.federation,
            &story.federation.log_key,
        );
        let anchor = story.federation.anchor.to_json();
        fs::write(case.path("anchor.json"), anchor).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, number: u64, name: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_auditor"))
            .arg("export")
            .arg(self.path("log"))
            .arg(id(number))
            .arg("-o")
            .arg(self.path(name))
            .output()
            .unwrap()
    }

    fn exported(&self, number: u64) -> PathBuf {
        let name = format!("{number}.asice");
        let output = self.export(number, &name);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        self.path(&name)
    }

    fn verify(&self, container: &Path) -> (Option<i32>, String) {
        self.verify_under(container, &self.path("anchor.json"))
    }

    fn verify_under(&self, container: &Path, anchor: &Path) -> (Option<i32>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_auditor"))
            .arg("verify")
            .arg(container)
            .arg("--anchor")
            .arg(anchor)
            .args(["--at", "2027-01-16T00:00:00Z"])
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    /// Writes files as a container and verifies it.
    fn verify_files(&self, files: &Files) -> (Option<i32>, String) {
        let path = self.path("changed.asice");
        let _ = fs::remove_file(&path);
        pack(&path, files, CompressionMethod::Stored);
        self.verify(&path)
    }
}

fn id(number: u64) -> String {
    ExchangeId::from_parts(NOW as u64 * 1000 + number, &[number as u8; 10]).to_string()
}

fn unpack(path: &Path) -> Files {
    let mut zip = ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut files = Files::new();
    for position in 0..zip.len() {
        let mut entry = zip.by_index(position).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.name().unwrap().into_owned(), bytes);
    }
    files
}

fn pack(path: &Path, files: &Files, method: CompressionMethod) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    let first = files.get_key_value("mimetype");
    let others = files.iter().filter(|(name, _)| *name != "mimetype");
    for (name, bytes) in first.into_iter().chain(others) {
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn the_container_of_every_kind_of_exchange_verifies() {
    let case = Case::new(&Story::truthful());
    for (number, messages, says) in [
        (1, 2, "Exchanges: 1 answered"),
        (2, 4, "Exchanges: 1 answered"),
        (3, 2, "0 kept, 2 never kept (refusals)"),
        (4, 2, "This is the consumer's evidence"),
        (5, 2, "1 closed without a final reply"),
        (6, 1, "1 closed without a final reply"),
    ] {
        let container = case.exported(number);
        let (status, printed) = case.verify(&container);
        assert_eq!(status, Some(0), "{printed}");
        assert!(printed.contains(says), "{says}: {printed}");
        let whole = format!(
            "All checks hold: exchange {} of VN/GOV/MINISTRY/server-1/1",
            id(number)
        );
        assert!(printed.contains(&whole), "{printed}");
        let files = unpack(&container);
        let manifests = files.keys().filter(|name| name.ends_with(".xml")).count();
        assert_eq!(manifests, messages);
        // Nothing of the other exchanges is in it.
        let records = String::from_utf8(files[RECORDS].clone()).unwrap();
        for other in (1..=6).filter(|other| *other != number) {
            assert!(!records.contains(&id(other)));
        }
    }
}

#[test]
fn the_type_is_in_the_first_bytes_and_the_same_log_gives_the_same_private_file() {
    let case = Case::new(&Story::truthful());
    let container = case.exported(1);
    let mode = fs::metadata(&container).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds what was asked and answered");
    let bytes = fs::read(container).unwrap();
    assert_eq!(&bytes[30..69], b"mimetypeapplication/vnd.etsi.asic-e+zip");
    assert_eq!(case.export(1, "again.asice").status.code(), Some(0));
    assert_eq!(fs::read(case.path("again.asice")).unwrap(), bytes);
}

/// Verifies a container that is kept beside the tests.
fn verify_vector(name: &str) -> (Option<i32>, String) {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let output = Command::new(env!("CARGO_BIN_EXE_auditor"))
        .arg("verify")
        .arg(vectors.join(format!("{name}.asice")))
        .arg("--anchor")
        .arg(vectors.join(format!("{name}.anchor.json")))
        .args(["--at", "2026-12-31T00:00:00Z"])
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), printed)
}

/// Made by `./demo` (its folder `evidence`, its anchor) when replies had come to promise; nobody in
/// it is real.
#[test]
fn a_container_of_an_earlier_version_still_verifies() {
    let (status, printed) = verify_vector("exchange");
    assert_eq!(status, Some(0), "{printed}");
    assert!(
        printed.contains("All checks hold: exchange 01a214ba-e602"),
        "{printed}"
    );
}

/// Made by the demonstration of the version before: its reply promises nothing, and all else holds.
#[test]
fn a_container_whose_reply_does_not_promise_fails_for_that_alone() {
    let (status, printed) = verify_vector("without-promise");
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("One check FAILS"), "{printed}");
    assert!(
        printed.contains("does not promise that the request is kept [exchanges.promise]"),
        "{printed}"
    );
}

#[test]
fn every_changed_missing_or_foreign_file_is_named() {
    let case = Case::new(&Story::truthful());
    let files = unpack(&case.exported(2));
    assert_eq!(case.verify_files(&files).0, Some(0));
    for name in files.keys().filter(|name| *name != "mimetype") {
        let mut changed = files.clone();
        changed.get_mut(name).unwrap()[10] ^= 1;
        let (status, printed) = case.verify_files(&changed);
        if name == "VERIFY.txt" {
            assert_eq!(status, Some(0), "{printed}");
            assert!(printed.contains("VERIFY.txt is not the text"), "{printed}");
        } else {
            assert_eq!(status, Some(1), "{name}: {printed}");
        }
        let mut missing = files.clone();
        missing.remove(name);
        let (status, printed) = case.verify_files(&missing);
        assert_eq!(status, Some(1), "{name}: {printed}");
    }
    for name in [
        "reply-0000000099.content",
        "META-INF/more.xml",
        "\u{1b}[31m",
    ] {
        let mut more = files.clone();
        more.insert(name.to_owned(), b"more".to_vec());
        let (status, printed) = case.verify_files(&more);
        assert_eq!(status, Some(1));
        assert!(
            printed.contains("does not belong to this container"),
            "{printed}"
        );
        assert!(!printed.contains('\u{1b}'));
    }
}

/// Changes the records as JSON and says what a verification finds.
fn with_records(case: &Case, files: &Files, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut records = serde_json::from_slice(&files[RECORDS]).unwrap();
    change(&mut records);
    let mut changed = files.clone();
    changed.insert(RECORDS.to_owned(), serde_json::to_vec(&records).unwrap());
    let (status, printed) = case.verify_files(&changed);
    assert_eq!(status, Some(1), "{printed}");
    printed
}

#[test]
fn records_that_are_not_in_the_log_prove_nothing() {
    let case = Case::new(&Story::truthful());
    let files = unpack(&case.exported(1));
    let without_right = with_records(&case, &files, |json| {
        let records = json["records"].as_array_mut().unwrap();
        records.retain(|record| record["kind"] != RecordKind::Change as i32);
    });
    assert!(
        without_right.contains("[exchanges.right]"),
        "{without_right}"
    );
    let without_reply = with_records(&case, &files, |json| {
        json["records"].as_array_mut().unwrap().pop();
    });
    assert!(without_reply.contains("no recorded end"), "{without_reply}");
    let moved = with_records(&case, &files, |json| {
        let last = json["records"].as_array_mut().unwrap().last_mut().unwrap();
        last["index"] = (last["index"].as_u64().unwrap() + 1).into();
    });
    assert!(moved.contains("[tree.inclusion]"), "{moved}");
    let other_annex = with_records(&case, &files, |json| {
        let records = json["records"].as_array_mut().unwrap();
        let annex = records[0]["annex"].clone();
        records.last_mut().unwrap()["annex"] = annex;
    });
    assert!(other_annex.contains("[tree.inclusion]"), "{other_annex}");
    let other_exchange = with_records(&case, &files, |json| {
        json["exchange"] = id(2).into();
    });
    assert!(
        other_exchange.contains("belongs to another exchange"),
        "{other_exchange}"
    );
    let other_log = with_records(&case, &files, |json| {
        json["log"] = "VN/GOV/MINISTRY/server-1/2".into();
    });
    assert!(other_log.contains("[tree.checkpoint]"), "{other_log}");
    let changes: [fn(&mut serde_json::Value); 7] = [
        |json| json["format"] = "another".into(),
        |json| json["more"] = "fields".into(),
        |json| json["exchange"] = "nobody".into(),
        |json| json["records"][0]["index"] = 1_000_000.into(),
        |json| json["records"][0]["proof"] = serde_json::json!(["AA=="]),
        |json| json["records"][0]["kind"] = 1.into(),
        |json| json["records"] = serde_json::json!([]),
    ];
    for change in changes {
        with_records(&case, &files, change);
    }
}

/// Proofs of membership are recorded once a state; publications that change nothing follow.
#[test]
fn a_head_published_after_the_proofs_were_recorded_is_enough() {
    let mut story = Story::truthful();
    for serial in [12, 15] {
        let registrations = story.federation.registrations();
        let later = story.federation.publish(serial, &registrations);
        assert_eq!(later.state.root(), story.published.state.root());
        story.ledger.local(RecordKind::Head, later.head.clone());
        story.published = later;
        story.answer_unary(serial);
    }
    // And one that changes something: all is proven anew, also the key of the log.
    let mut registrations = story.federation.registrations();
    registrations.remove(2);
    let changed = story.federation.publish(20, &registrations);
    assert_ne!(changed.state.root(), story.published.state.root());
    story.ledger.configuration(&changed);
    story.published = changed;
    story.answer_unary(20);

    let case = Case::new(&story);
    let (status, printed) = case.verify(&case.path("log"));
    assert_eq!(status, Some(0), "{printed}");
    for number in [1, 12, 15, 20] {
        let (status, printed) = case.verify(&case.exported(number));
        assert_eq!(status, Some(0), "{printed}");
    }
}

#[test]
fn another_anchor_proves_nothing() {
    let case = Case::new(&Story::truthful());
    let container = case.exported(1);
    let other = case.path("other.json");
    fs::write(&other, Federation::new().anchor.to_json()).unwrap();
    let (status, printed) = case.verify_under(&container, &other);
    assert_eq!(status, Some(1));
    assert!(printed.contains("under another anchor"), "{printed}");
}

/// Where the directory of a zip file begins, as its end says.
fn directory_of(zip: &[u8]) -> usize {
    let at = zip.len() - 6;
    u32::from_le_bytes(zip[at..at + 4].try_into().unwrap()) as usize
}

/// A zip file with a few bytes more, and all that stands behind them found where it is then.
fn with_bytes_at(zip: &[u8], place: usize) -> Vec<u8> {
    let more = b"hidden";
    let directory = directory_of(zip);
    let mut changed = [&zip[..place], more, &zip[place..]].concat();
    let mut entry = directory + more.len();
    let moved = |bytes: &mut [u8]| {
        let at = u32::from_le_bytes(bytes.try_into().unwrap());
        if at as usize >= place {
            bytes.copy_from_slice(&(at + more.len() as u32).to_le_bytes());
        }
    };
    while changed[entry..].starts_with(b"PK\x01\x02") {
        moved(&mut changed[entry + 42..entry + 46]);
        let length = |at: usize| {
            usize::from(changed[entry + at]) + 256 * usize::from(changed[entry + at + 1])
        };
        entry += 46 + length(28) + length(30) + length(32);
    }
    let at = changed.len() - 6;
    moved(&mut changed[at..at + 4]);
    changed
}

#[test]
fn what_is_no_container_is_refused() {
    let case = Case::new(&Story::truthful());
    let container = case.exported(1);
    let bytes = fs::read(&container).unwrap();
    let files = unpack(&container);
    let broken = case.path("broken.asice");
    let refused = |bytes: &[u8], says: &str| {
        fs::write(&broken, bytes).unwrap();
        let (status, printed) = case.verify(&broken);
        assert_eq!(status, Some(2), "{printed}");
        assert!(printed.contains(says), "{says}: {printed}");
    };
    refused(b"", "no zip file");
    refused(
        b"no zip file at all, but long enough to be one",
        "no zip file",
    );
    refused(&bytes[..bytes.len() - 1], "no zip file");
    refused(&[&bytes[..], b"more"].concat(), "no zip file");

    // Two files of one name: of two tools one reads the first, one the second.
    let mut twice = files.clone();
    twice.insert("request-0000000000.heade2".to_owned(), b"another".to_vec());
    pack(&broken, &twice, CompressionMethod::Stored);
    let mut doubled = fs::read(&broken).unwrap();
    let (from, to) = (b"request-0000000000.heade2", b"request-0000000000.header");
    while let Some(at) = doubled.windows(from.len()).position(|part| part == from) {
        doubled[at..at + to.len()].copy_from_slice(to);
    }
    refused(&doubled, "one name");

    // Bytes before the first file, between two files, and behind the last.
    let name = bytes.windows(10).position(|part| part == b"VERIFY.txt");
    // Its local header stands 30 bytes before its name.
    let (verify, directory) = (name.unwrap() - 30, directory_of(&bytes));
    for place in [0, verify, directory] {
        refused(&with_bytes_at(&bytes, place), "belong to no file");
    }

    let end = bytes.len() - 22;
    refused(
        &[&bytes[..end], b"hidden", &bytes[end..]].concat(),
        "no zip file",
    );

    // The directory names another file than stands there.
    let mut renamed = bytes.clone();
    let at = directory
        + bytes[directory..]
            .windows(10)
            .position(|part| part == b"VERIFY.txt")
            .unwrap();
    renamed[at] = b'v';
    refused(&renamed, "no zip file");

    // The type is not the first file.
    let mut zip = ZipWriter::new(File::create(&broken).unwrap());
    for (name, bytes) in files.iter().rev() {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    refused(
        &fs::read(&broken).unwrap(),
        "its first file is not mimetype",
    );

    let mut without_type = files;
    without_type.insert("mimetype".to_owned(), b"application/zip".to_vec());
    pack(&broken, &without_type, CompressionMethod::Stored);
    refused(&fs::read(&broken).unwrap(), "ASiC-E");
    assert_eq!(case.verify(&case.path("nothing.asice")).0, Some(2));
}

#[test]
fn what_is_not_proven_is_not_exported() {
    let mut story = Story::truthful();
    let event = SecurityEvent {
        refusal_code: "consumer.unknown_client".to_owned(),
        exchange_id: ExchangeId::from_parts(NOW as u64 * 1000 + 20, &[20; 10])
            .as_bytes()
            .to_vec()
            .into(),
        count: 1,
        ..SecurityEvent::default()
    };
    story
        .ledger
        .local(RecordKind::Security, event.encode_to_vec());
    let case = Case::new(&story);
    let refused = |number: u64, says: &str| {
        let output = case.export(number, "refused.asice");
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.contains(says), "{says}: {printed}");
        assert!(!case.path("refused.asice").exists());
    };
    refused(99, "is not in this log");
    refused(20, "refused before anything of it was signed");

    // Written after the checkpoint.
    let covered = story.ledger.entries.len();
    story.answer_unary(30);
    let log = verifiable_log::Log::open(&case.path("log"), fixture::ledger::options(), &mut |_| {})
        .unwrap();
    append(&log, &story.ledger.entries[covered..]);
    drop(log);
    refused(30, "try again when the server has signed the next one");
    case.exported(1);

    // A file that is there is not replaced.
    fs::write(case.path("there.asice"), "kept").unwrap();
    let output = case.export(1, "there.asice");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(case.path("there.asice")).unwrap(), b"kept");
}

#[test]
fn the_exchanges_of_a_case_are_exported_each_into_its_own_file() {
    let mut story = Story::truthful();
    for (number, case) in [(31, "H37/1"), (32, "H37/2"), (33, "H37/1")] {
        story.answer_in_case(number, case);
    }
    let case = Case::new(&story);
    let export = |name: &str| {
        let mut export = Command::new(env!("CARGO_BIN_EXE_auditor"));
        export.arg("export").arg(case.path("log"));
        export
            .args(["--case", name, "-o"])
            .arg(case.path("evidence"));
        export.output().unwrap()
    };
    assert_eq!(export("H37").status.code(), Some(1));
    assert!(!case.path("evidence").exists());

    let output = export("H37/1");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let mut written: Vec<_> = fs::read_dir(case.path("evidence"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    let expected =
        [(1, 31), (2, 33)].map(|(place, number)| format!("0{place}-LookUp-{}.asice", id(number)));
    assert_eq!(written, expected);
    for (name, number) in written.iter().zip([31, 33]) {
        let container = case.path("evidence").join(name);
        assert_eq!(case.verify(&container).0, Some(0));
        // What one holds does not depend on what else was exported with it.
        let alone = fs::read(case.exported(number)).unwrap();
        assert_eq!(fs::read(&container).unwrap(), alone);
    }

    // A folder that is there is left as it is.
    assert_eq!(export("H37/2").status.code(), Some(2));
    assert_eq!(fs::read_dir(case.path("evidence")).unwrap().count(), 2);
}

#[test]
fn a_log_that_was_written_anew_behind_its_checkpoint_is_not_exported() {
    let story = Story::truthful();
    let case = Case::new(&story);
    let checkpoint = fs::read(case.path("log/checkpoint")).unwrap();
    let mut other = Story::in_federation(Federation::new());
    other.federation = story.federation;
    other.ledger.entries = story.ledger.entries.clone();
    other.ledger.entries[story.unary[0] as usize]
        .annex
        .received_at += 1;
    fs::remove_dir_all(case.path("log")).unwrap();
    other.ledger.write(
        &case.path("log"),
        &other.federation,
        &other.federation.log_key,
    );
    fs::write(case.path("log/checkpoint"), checkpoint).unwrap();
    let output = case.export(1, "1.asice");
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        printed.contains("not those that the checkpoint was signed for"),
        "{printed}"
    );
}

#[test]
fn destroyed_content_is_no_file_and_no_failure() {
    let mut story = Story::truthful();
    let index = story.unary[1];
    let entry = &mut story.ledger.entries[index as usize];
    entry.content = vec![0; entry.content.len()].into();
    let erased = Erased {
        first_index: index,
        last_index: index,
        reason: "the term of ten years has passed".to_owned(),
    };
    story
        .ledger
        .local(RecordKind::Erased, erased.encode_to_vec());
    let case = Case::new(&story);
    let container = case.exported(1);
    let files = unpack(&container);
    assert!(files.contains_key("request-0000000000.content"));
    assert!(!files.contains_key("reply-0000000000.content"));
    let (status, printed) = case.verify(&container);
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("1 destroyed with a record"), "{printed}");
}

#[test]
fn a_right_that_was_withdrawn_before_is_no_excuse() {
    let mut story = Story::truthful();
    story.ledger.clock = 100;
    story.ledger.change(&withdraw("lookup"));
    story.ledger.clock = 200;
    let request = story.first_request(&parties(OFFICE, POPULATION, 40));
    story.receive(&request);
    let reply = story.reply(&parties(OFFICE, POPULATION, 40), None, &request);
    let reply = reply.last().signed(&story.federation.ministry);
    story.record(&reply);
    let case = Case::new(&story);
    let (status, printed) = case.verify(&case.exported(40));
    assert_eq!(status, Some(1));
    assert!(printed.contains("withdrew [exchanges.right]"), "{printed}");
}

#[test]
fn a_right_whose_id_was_used_for_another_service_before() {
    let mut story = Story::truthful();
    let mut other = grant("reused", &[]);
    if let Some(Value::Right(right)) = &mut other.value {
        right.service = DESK.to_owned();
    }
    story.ledger.change(&other);
    story.right = story.ledger.change(&grant("reused", &["LookUp"]));
    story.answer_unary(40);
    let case = Case::new(&story);
    let (status, printed) = case.verify(&case.path("log"));
    assert_eq!(status, Some(0), "{printed}");
    let (status, printed) = case.verify(&case.exported(40));
    assert_eq!(status, Some(0), "{printed}");
}

/// The commands of VERIFY.txt as somebody pastes them, in a folder where the file is.
fn pasted(case: &Case, container: &Path, meddle: &str) -> String {
    let folder = tempfile::tempdir_in(case.folder.path()).unwrap();
    fs::copy(container, folder.path().join("THIS_FILE.asice")).unwrap();
    let text = String::from_utf8(unpack(container)["VERIFY.txt"].clone()).unwrap();
    let mut commands: Vec<&str> = text.lines().collect();
    let unpacking = commands.iter().position(|line| line.starts_with("unzip "));
    commands.insert(unpacking.unwrap() + 1, meddle);
    let output = Command::new("bash")
        .args(["-c", &commands.join("\n")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_commands_in_the_container_verify_it_without_our_software() {
    let case = Case::new(&Story::truthful());
    for (number, messages, files) in [(1, 2, 4), (2, 4, 8), (3, 2, 2), (6, 1, 2)] {
        let said = pasted(&case, &case.exported(number), "true");
        let count = |part: &str| said.matches(part).count();
        assert_eq!(count("CAdES Verification successful"), messages, "{said}");
        assert_eq!(count(": OK"), files, "{said}");
        assert_eq!(count("Signature Verified Successfully"), 1, "{said}");
        assert_eq!(
            count("REFUSED") + count("CHANGED") + count("differ"),
            0,
            "{said}"
        );
        assert_eq!(count("No such file"), 0, "{said}");
    }
    let container = case.path("1.asice");
    for (meddle, says) in [
        (
            "sed -i s/header.v1/header.v2/ META-INF/ASiCManifest-request-0000000000.xml",
            "request-0000000000: REFUSED",
        ),
        (
            "printf x >> reply-0000000000.header",
            "reply-0000000000.header: CHANGED",
        ),
        (
            "printf x >> request-0000000000.content",
            "request-0000000000.content: CHANGED",
        ),
        (
            "sed -i '2s/.*/1000/' META-INF/evidence/checkpoint",
            "differ",
        ),
        (
            "sed -i '2s/.*/1000/' META-INF/evidence/checkpoint.text",
            "Signature Verification Failure",
        ),
        (
            "sed -i 's/ .*/ 2000000000/' META-INF/evidence/signing-times",
            "certificate has expired",
        ),
    ] {
        let said = pasted(&case, &container, meddle);
        assert!(said.contains(says), "{meddle}: {said}");
    }
}
