//! Under load messages are signed together, a lone one alone; each remains evidence by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{collections::HashSet, path::Path, process::Command};

use examples::{
    caller::{Caller, Method, text},
    container::as_told,
    echo::{self, CLIENT, Echo, PROVIDER, SAY},
    federation::Federation,
    message_log::MessageLog,
    process::{program, python},
    waiting::{PATIENCE, wait_for},
};
use serde_json::json;
use tokio::{task::JoinSet, time::timeout};
use trust::{ExchangeId, header::Direction};

/// Calls under way at once.
const CALLERS: usize = 32;

async fn say(caller: &Caller, method: &Method, said: &str) {
    let answer = caller.unary(method, json!({ "text": said })).await.unwrap();
    assert_eq!(text(answer.get_ref(), "text"), said);
}

/// The exchanges of which a log has a batch-signed message of this direction.
fn batched(log: &Path, direction: Direction) -> HashSet<ExchangeId> {
    let log = MessageLog::read(log).unwrap();
    let messages = log.messages.iter();
    messages
        .filter(|message| message.signed_in_batch && message.header.direction == direction)
        .map(|message| message.header.parties.exchange)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_messages_are_signed_together_and_each_is_evidence_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path();
    let echo = Echo::start().await.unwrap();
    let federation = Federation::start(base, &echo::plan(&echo.address))
        .await
        .unwrap();
    let consumer = federation.server("consumer").unwrap();
    let provider = federation.server("provider").unwrap();
    let caller = Caller::plaintext(consumer.plaintext(CLIENT).unwrap())
        .await
        .unwrap();
    let caller = caller.with("x-road-service", PROVIDER).unwrap();
    let method = echo::method(base, SAY).unwrap();

    for number in 0..5 {
        say(&caller, &method, &format!("alone {number}")).await;
    }
    let log = &consumer.endpoint().log;
    let alone = MessageLog::read(log).unwrap();
    assert!(
        alone
            .messages
            .iter()
            .all(|message| !message.signed_in_batch)
    );

    // However fast this machine is, at some time calls meet while the log writes.
    let exchange = timeout(PATIENCE, async {
        loop {
            let mut calls = JoinSet::new();
            for number in 0..CALLERS {
                let (caller, method) = (caller.clone(), method.clone());
                calls.spawn(async move { say(&caller, &method, &format!("{number}")).await });
            }
            calls.join_all().await;
            let requests = batched(log, Direction::Request);
            let replies = batched(log, Direction::Reply);
            if let Some(both) = requests.intersection(&replies).next() {
                return *both;
            }
        }
    })
    .await
    .expect("an exchange with both messages signed in batches");

    federation.audit().await.unwrap();
    let agreed = federation.reconcile("consumer", "provider").await.unwrap();
    assert_eq!(agreed["failures"], 0, "{agreed}");

    for server in [consumer, provider] {
        let container = base.join("batched.asice");
        let _ = std::fs::remove_file(&container);
        wait_for("a container", || {
            let mut export = Command::new(program("auditor").unwrap());
            let export = export.arg("export").arg(&server.endpoint().log);
            let export = export.arg(exchange.to_string()).arg("-o").arg(&container);
            let exported = export.output().unwrap().status.success();
            std::future::ready(exported.then_some(()))
        })
        .await
        .unwrap();
        let mut verify = Command::new(program("auditor").unwrap());
        let verify = verify.arg("verify").arg(&container).arg("--anchor");
        let verified = verify.arg(base.join("anchor.json")).output().unwrap();
        assert!(verified.status.success(), "{verified:?}");
        let python = outside_libraries(&container);
        assert!(python.status.success(), "{python:?}");

        let said = as_told(&container, &base.join("unpacked")).await.unwrap();
        let count = |part: &str| said.matches(part).count();
        let messages = count(".header: OK");
        let (batches, batched) = (count(".root: OK"), count(".manifest: OK"));
        // Request and reply, and the reply's end when that came a moment later.
        assert!(messages >= 2 && batched >= 2, "{said}");
        assert_eq!(count(".content: OK"), messages, "{said}");
        let signatures = batches + messages - batched;
        assert_eq!(count("CAdES Verification successful"), signatures, "{said}");
        assert_eq!(count("Signature Verified Successfully"), 1, "{said}");
        for complaint in ["REFUSED", "CHANGED", "NOT IN ITS BATCH"] {
            assert_eq!(count(&format!(": {complaint}")), 0, "{said}");
        }
        for (part, complaint) in [
            ("request-0000000000.manifest", "NOT IN ITS BATCH"),
            ("request-0000000000.path", "NOT IN ITS BATCH"),
            ("reply-0000000000.content", "CHANGED"),
        ] {
            let changed = changed(&container, part);
            let said = as_told(&changed, &base.join("unpacked")).await.unwrap();
            assert!(said.contains(complaint), "{part} was changed: {said}");
        }
    }
    federation.stop().await.unwrap();
}

fn outside_libraries(container: &Path) -> std::process::Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    python()
        .unwrap()
        .arg(root.join("examples/tests/outside/container.py"))
        .arg(container)
        .output()
        .expect("the private Python, which ./check provides")
}

/// A copy of a container with one character of one file changed.
fn changed(container: &Path, part: &str) -> std::path::PathBuf {
    let copy = container.with_extension("changed.asice");
    let script = "import sys, zipfile
old, new, part = sys.argv[1:]
with zipfile.ZipFile(old) as old, zipfile.ZipFile(new, 'w') as new:
    for name in old.namelist():
        data = bytearray(old.read(name))
        if name == part:
            data[len(data) // 2] ^= 1
        new.writestr(name, bytes(data))
";
    let made = python()
        .unwrap()
        .args(["-c", script])
        .args([container, &copy])
        .arg(part)
        .status()
        .unwrap();
    assert!(made.success());
    copy
}
