//! Promises over real processes: proven while both servers run, and alarms when they cannot be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{fs, process::Command};

use examples::{
    caller::{Caller, Method},
    echo::{self, CLIENT, Echo, PROVIDER, SAY},
    federation::Federation,
    folders::copy,
    message_log::MessageLog,
    process::program,
    waiting::wait_for,
};
use serde_json::{Value, json};

const LOG: &str = "VN/GOV/B/provider/1";

struct Stage {
    federation: Federation,
    say: Method,
    _echo: Echo,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        Self {
            federation: Federation::start(directory.path(), &plan).await.unwrap(),
            say: echo::method(directory.path(), SAY).unwrap(),
            _echo: echo,
            directory,
        }
    }

    async fn say(&self) {
        let consumer = self.federation.server("consumer").unwrap();
        let caller = Caller::plaintext(consumer.plaintext(CLIENT).unwrap()).await;
        let caller = caller.unwrap().with("x-road-service", PROVIDER).unwrap();
        let said = caller.unary(&self.say, json!({ "text": "hello" })).await;
        said.unwrap();
    }

    /// Waits until the consumer says this of the provider's log.
    async fn wait_for_verdict(&self, verdict: &str, unproven: Option<u64>) -> Value {
        let consumer = self.federation.server("consumer").unwrap();
        wait_for(&format!("the verdict {verdict}"), || async {
            let shown = consumer.show().await.unwrap();
            let logs = shown["peer_logs"].as_array().unwrap();
            let log = logs.iter().find(|log| log["log"] == LOG)?;
            let as_expected = log["verdict"] == verdict
                && unproven.is_none_or(|unproven| log["unproven"] == unproven);
            as_expected.then(|| log.clone())
        })
        .await
        .unwrap()
    }

    fn recorded(&self) -> MessageLog {
        let consumer = self.federation.server("consumer").unwrap();
        MessageLog::read(&consumer.endpoint().log).unwrap()
    }

    fn audit(&self, server: &str) -> Value {
        let log = &self.federation.server(server).unwrap().endpoint().log;
        let anchor = self.directory.path().join("anchor.json");
        let output = Command::new(program("auditor").unwrap())
            .args(["verify", "--json", "--anchor"])
            .args([anchor.as_path(), log.as_path()])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promises_are_proven_also_after_a_restart_and_a_log_that_went_back_is_named() {
    let mut stage = Stage::set().await;
    stage.say().await;
    let first = stage.wait_for_verdict("kept", Some(0)).await;

    // Yesterday's copy of the provider's log.
    let yesterday = stage.directory.path().join("yesterday");
    let provider = stage.federation.server_mut("provider").unwrap();
    provider.stop().await.unwrap();
    let log = provider.endpoint().log.clone();
    copy(&log, &yesterday).unwrap();
    provider.start().await.unwrap();

    // Promised, and asked about after the consumer was killed and started again.
    for _ in 0..3 {
        stage.say().await;
    }
    let consumer = stage.federation.server_mut("consumer").unwrap();
    consumer.kill().await.unwrap();
    consumer.start().await.unwrap();
    let later = stage.wait_for_verdict("kept", Some(0)).await;
    assert!(later["checkpoint"].as_u64() > first["checkpoint"].as_u64());
    let whole = stage.audit("consumer");
    let facts = &whole["logs"][0]["facts"];
    assert_eq!(facts["promises_unproven"], 0, "{whole}");
    assert!(facts["promises_kept"].as_u64().unwrap() >= 4, "{whole}");

    // The copy is put in place: the next promise is asked about, and the log is smaller.
    let provider = stage.federation.server_mut("provider").unwrap();
    provider.stop().await.unwrap();
    fs::remove_dir_all(&log).unwrap();
    copy(&yesterday, &log).unwrap();
    provider.start().await.unwrap();
    stage.say().await;
    stage.wait_for_verdict("rolled_back", None).await;
    let ping = stage.federation.server("consumer").unwrap();
    let refused = ping
        .operate("ping", &["VN/GOV/B/provider"])
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("records when it was asked before"),
        "{refused}"
    );
    let recorded = stage.recorded();
    let alarm = recorded.peer_checkpoints.last().unwrap();
    assert_eq!((&*alarm.origin, &*alarm.verdict), (LOG, "rolled_back"));
    let whole = stage.audit("consumer");
    assert!(whole.to_string().contains("ALARM about the log"), "{whole}");

    // It is not forgotten when it grows again, for it does not extend what it was.
    let size = usize::try_from(later["checkpoint"].as_u64().unwrap()).unwrap();
    for _ in 0..size {
        stage.say().await;
    }
    stage.wait_for_verdict("rolled_back", None).await;
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_no_question_is_an_alarm_until_it_does() {
    let mut stage = Stage::set().await;
    stage.say().await;
    stage.wait_for_verdict("kept", Some(0)).await;
    // Stopped right after its answer, before it is asked what that promised.
    loop {
        stage.say().await;
        let provider = stage.federation.server_mut("provider").unwrap();
        provider.kill().await.unwrap();
        let shown = stage.federation.server("consumer").unwrap().show().await;
        if shown.unwrap()["peer_logs"][0]["unproven"] != 0 {
            break;
        }
        let provider = stage.federation.server_mut("provider").unwrap();
        provider.start().await.unwrap();
    }
    stage.wait_for_verdict("no_answer", None).await;
    let recorded = stage.recorded();
    assert!(
        recorded
            .peer_checkpoints
            .last()
            .unwrap()
            .checkpoint
            .is_empty()
    );

    let provider = stage.federation.server_mut("provider").unwrap();
    provider.start().await.unwrap();
    stage.wait_for_verdict("kept", Some(0)).await;
    let whole = stage.audit("consumer");
    assert!(whole.to_string().contains("no_answer"), "{whole}");
    stage.federation.stop().await.unwrap();
}
