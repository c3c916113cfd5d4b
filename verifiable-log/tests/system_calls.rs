//! What a process that keeps a log asks of the operating system, seen from outside with strace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use verifiable_log::{Log, Options, Record, leaf_of_local_record};

const FOLDER: &str = "LIENTHONG_OBSERVED_FOLDER";
/// The question mark is for calls that not every machine has.
const TRACED: &str = "trace=write,pwrite64,pwritev,fdatasync,fsync,?rename,?renameat,?renameat2,\
                      ?mkdir,?mkdirat";
const ANSWER: &str = "answered";

/// The process that is observed: not a test of its own.
#[test]
#[ignore = "run by the test below, under strace"]
fn observed() {
    let folder = std::env::var_os(FOLDER).unwrap();
    let log = Path::new(&folder).join("log");
    let mut options = Options::new(leaf_of_local_record, Arc::new(|_| Bytes::from_static(b"t")));
    options.segment_size = 8 * 1024;
    options.reserve_size = 8 * 1024;
    Log::create(&log, &"VN/registry".parse().unwrap(), &options).unwrap();
    answer();
    let log = Log::open(&log, options, &mut |_| ()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for _ in 0..3 {
        let record = Record::local(4, Bytes::from(vec![1; 3000]), Bytes::new());
        runtime.block_on(log.append(record)).unwrap();
        answer();
    }
}

/// Not captured by the test, unlike what is printed.
fn answer() {
    std::io::stderr().write_all(ANSWER.as_bytes()).unwrap();
}

/// A call, and the file that it is about.
#[derive(Debug)]
struct Call {
    name: String,
    path: String,
}

/// The calls of [`observed`] in order, as strace writes them: `pid name(fd<path>, ...) = result`.
fn calls() -> Vec<Call> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "16", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["-e", TRACED])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "observed", "--ignored"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("strace is installed (`. examples/provide.sh` does it)");
    let text = std::fs::read_to_string(&trace).unwrap_or_default();
    assert!(
        status.success() && !text.is_empty(),
        "strace could not observe a process: are ptrace calls allowed here?\n{text}"
    );
    // Calls of several threads are written in two halves; the end says when it was done.
    let mut begun = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (pid, rest) = line.split_once(' ').unwrap();
        let rest = rest.trim_start();
        if let Some(half) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(pid.to_owned(), half.to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ") {
            Some(_) => begun.remove(pid).unwrap_or_default(),
            None => rest.to_owned(),
        };
        let Some((name, arguments)) = whole.split_once('(') else {
            continue;
        };
        let path = match name {
            // The new name.
            "rename" | "renameat" | "renameat2" => arguments.split('"').nth(3),
            "mkdir" | "mkdirat" => arguments.split('"').nth(1),
            _ if arguments.contains(ANSWER) => Some(ANSWER),
            _ => arguments
                .split_once('<')
                .and_then(|(_, rest)| Some(rest.split_once('>')?.0)),
        };
        let path = path.unwrap_or_default();
        if path == ANSWER || Path::new(path).starts_with(folder.path()) {
            calls.push(Call {
                name: name.to_owned(),
                path: path.to_owned(),
            });
        }
    }
    calls
}

/// Whether the file or folder is synced after the call at `from`, before the next answer.
fn is_synced(calls: &[Call], from: usize, name: &str, path: &str) -> bool {
    calls[from..]
        .iter()
        .take_while(|call| call.path != ANSWER)
        .any(|call| call.name == name && call.path == path)
}

#[test]
fn all_that_is_written_named_and_made_is_synced_before_the_answer() {
    let calls = calls();
    let (mut written, mut named, mut made) = (0, 0, 0);
    for (at, call) in calls.iter().enumerate() {
        let parent = Path::new(&call.path)
            .parent()
            .unwrap_or_else(|| Path::new(""));
        let parent = parent.to_str().unwrap();
        match call.name.as_str() {
            // Views are derived.
            "pwritev" | "pwrite64" if !call.path.contains("/views/") => {
                written += 1;
                let synced = is_synced(&calls, at, "fdatasync", &call.path);
                assert!(synced, "{call:?} in {calls:#?}");
            }
            "rename" | "renameat" | "renameat2" => {
                named += 1;
                assert!(
                    is_synced(&calls, at, "fsync", parent),
                    "{call:?} in {calls:#?}"
                );
                let before = &calls[at - 1];
                assert!(before.name == "fdatasync", "{before:?} before {call:?}");
            }
            "mkdir" | "mkdirat" if !call.path.contains("/views") => {
                made += 1;
                let again = calls[at + 1..]
                    .iter()
                    .any(|later| later.name == call.name && later.path == call.path);
                let synced = is_synced(&calls, at, "fsync", parent);
                assert!(synced || again, "{call:?} in {calls:#?}");
            }
            _ => {}
        }
    }
    let answers = calls.iter().filter(|call| call.path == ANSWER).count();
    assert_eq!(answers, 4);
    // Two files of a new log; the reserve and a second segment; three records.
    assert!(named >= 4 && made >= 2 && written >= 7, "{calls:#?}");
}
