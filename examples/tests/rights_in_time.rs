//! Access rights by a clock that the test sets at each exchange, and what each refusal leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use examples::{
    bare_caller::{Answer, BareCaller},
    echo::{self, CLIENT, Echo, PROVIDER, REPEAT, SAY},
    federation::Federation,
    message_log::{MessageEntry, MessageLog},
    waiting::wait_for,
};
use security_server::{Clock, Machine, Settings, SystemClock, start};
use tokio::{sync::watch, task::JoinHandle};
use tonic::Code;
use trust::{ExchangeId, header::Direction, wire::evidence::Stage as RecordedStage};

/// A clock that stands where it was set, in seconds since 1970 (UTC).
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn milliseconds(&self) -> i64 {
        self.0.load(Ordering::SeqCst) * 1000
    }
}

/// The provider runs in this process, by a clock of ours; everything else is as ever.
struct Stage {
    federation: Federation,
    clock: Arc<SetClock>,
    began: i64,
    caller: BareCaller,
    echo: Echo,
    stop: watch::Sender<bool>,
    provider: JoinHandle<Result<(), start::StartError>>,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
        let provider = federation.server_mut("provider").unwrap();
        provider.stop().await.unwrap();
        let path = provider.path("server.toml");
        let settings = fs::read_to_string(&path).unwrap();
        // There is one place for metrics in a process, and this one runs several tests.
        let settings = settings.replace("[monitoring]\nlisten = \"127.0.0.1:0\"\n", "");
        fs::write(&path, settings).unwrap();
        let began = SystemClock.seconds();
        let clock = Arc::new(SetClock(AtomicI64::new(began)));
        let (stop, stopped) = watch::channel(false);
        let settings = Settings::load(&path).unwrap();
        let machine = Machine {
            clock: clock.clone(),
            ..Machine::this()
        };
        let running = start::run(settings, machine, stopped);
        let consumer = federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
        let stage = Self {
            caller: caller.await.unwrap(),
            provider: tokio::spawn(running),
            federation,
            clock,
            began,
            echo,
            stop,
            _directory: directory,
        };
        stage.wait_until_serving().await;
        stage
    }

    async fn wait_until_serving(&self) {
        let provider = self.federation.server("provider").unwrap();
        wait_for("the provider to serve", || async {
            let shown = provider.show().await.ok()?;
            (shown["serving"] == true).then_some(())
        })
        .await
        .unwrap();
    }

    /// One right, of these words.
    async fn grant(&self, words: &str) {
        let provider = self.federation.server("provider").unwrap();
        let state = fs::read_to_string(provider.path("state.toml")).unwrap();
        let rights = state.find("[[access_rights]]").unwrap();
        let right = format!(
            "[[access_rights]]\nid = \"timed\"\nclient = {CLIENT:?}\nservice = {PROVIDER:?}\n\
             grpc_service = {:?}\n{words}\n",
            echo::SERVICE
        );
        let file = provider.path("timed.toml");
        fs::write(&file, state[..rights].to_owned() + &right).unwrap();
        provider.apply_file(&file).await.unwrap();
    }

    /// Calls when the provider's clock stands so many seconds after the beginning.
    async fn call(&self, after: i64, path: &str, purpose: Option<&str>) -> Answer {
        self.clock.0.store(self.began + after, Ordering::SeqCst);
        let mut metadata = vec![("x-road-service", PROVIDER)];
        metadata.extend(purpose.map(|purpose| ("x-road-purpose", purpose)));
        // An encoded Text.
        self.caller
            .call(path, &metadata, b"\x0a\x02hi")
            .await
            .unwrap()
    }

    fn log(&self, server: &str) -> MessageLog {
        MessageLog::read(&self.federation.server(server).unwrap().endpoint().log).unwrap()
    }

    async fn allowed(&self, after: i64, path: &str, purpose: Option<&str>) {
        let calls = self.echo.calls();
        let answer = self.call(after, path, purpose).await;
        assert_eq!(answer.status.code(), Code::Ok, "{after}: {answer:?}");
        assert_eq!(self.echo.calls(), calls + 1);
    }

    /// Refused with this code; the adapter is not called; both logs hold the request and the signed
    /// refusal, the provider's without content, and nothing else.
    async fn refused(&self, after: i64, path: &str, purpose: Option<&str>, code: &str, says: &str) {
        let before = (
            self.echo.calls(),
            self.log("consumer"),
            self.log("provider"),
        );
        let answer = self.call(after, path, purpose).await;
        assert_eq!(
            answer.field("x-road-refusal"),
            Some(code),
            "{after}: {answer:?}"
        );
        assert_eq!(answer.field("x-road-fault"), Some("client"));
        let message = answer.status.message();
        assert!(
            message.contains(says) && message.contains("What to do: "),
            "{message}"
        );
        assert_eq!(
            self.echo.calls(),
            before.0,
            "the adapter was called: {code}"
        );
        let exchange: ExchangeId = answer.field("x-road-exchange-id").unwrap().parse().unwrap();
        for (server, before) in [("consumer", before.1), ("provider", before.2)] {
            let log = self.log(server);
            let added = &log.messages[before.messages.len()..];
            let [request, rest @ ..] = added else {
                panic!("{server}: no message of {code}");
            };
            // The end of the request may have come a moment after it.
            let is_end = |entry: &&MessageEntry| {
                let header = &entry.header;
                server == "consumer" && header.direction == Direction::Request && header.is_final
            };
            let (ends, replies): (Vec<_>, Vec<_>) = rest.iter().partition(is_end);
            let [reply] = replies[..] else {
                panic!("{server}: {} replies with {code}", replies.len());
            };
            assert!(ends.len() <= 1, "{server}: {code}");
            assert!(
                added
                    .iter()
                    .all(|entry| entry.header.parties.exchange == exchange)
            );
            assert_eq!(request.header.direction, Direction::Request);
            assert_eq!(reply.header.refusal_code.as_deref(), Some(code), "{server}");
            assert!(reply.content.is_empty());
            assert_eq!((log.closings.len(), log.security.len()), (0, 0), "{server}");
            if server == "provider" {
                assert!(
                    request.content.is_empty(),
                    "a refused request is kept without content"
                );
                assert_eq!(request.annex.decision, code);
                assert_eq!(request.annex.access_right, None);
                assert_eq!(request.annex.stage(), RecordedStage::Received);
            } else {
                assert!(!request.content.is_empty());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_condition_of_a_right_is_asked_when_the_exchange_comes() {
    let stage = Stage::set().await;
    let at = |after: i64| jiff::Timestamp::from_second(stage.began + after).unwrap();
    stage
        .grant(&format!(
            "valid_from = \"{}\"\nvalid_until = \"{}\"",
            at(100),
            at(200)
        ))
        .await;
    let (early, late) = ("provider.right_not_yet_valid", "provider.right_expired");
    stage
        .refused(99, SAY, None, early, &at(100).to_string())
        .await;
    stage.allowed(100, SAY, None).await;
    stage.allowed(199, SAY, None).await;
    stage
        .refused(200, SAY, None, late, &at(200).to_string())
        .await;
    // By the clock of this moment, and not by the order of the calls.
    stage.allowed(150, SAY, None).await;

    stage
        .grant("methods = [\"Say\"]\npurposes = [\"birth registration\"]")
        .await;
    let purpose = "provider.purpose_not_allowed";
    stage.allowed(200, SAY, Some("birth%20registration")).await;
    stage
        .refused(200, SAY, None, purpose, "birth registration")
        .await;
    stage
        .refused(200, SAY, Some("tax"), purpose, "another purpose")
        .await;
    let method = "provider.method_not_allowed";
    stage
        .refused(
            200,
            REPEAT,
            Some("birth%20registration"),
            method,
            "only Say",
        )
        .await;

    stage.federation.audit().await.unwrap();
    let found = stage.federation.reconcile("consumer", "provider").await;
    assert_eq!(found.unwrap()["failures"], 0);
    stage.stop.send(true).unwrap();
    stage.provider.await.unwrap().unwrap();
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_signed_and_recorded_only_so_often() {
    let stage = Stage::set().await;
    stage.grant("methods = [\"Repeat\"]").await;
    let mut codes = Vec::new();
    for _ in 0..135 {
        let answer = stage.call(0, SAY, None).await;
        codes.push(answer.field("x-road-refusal").unwrap().to_owned());
    }
    let (signed, unsigned) = codes.split_at(120);
    assert!(
        signed
            .iter()
            .all(|code| code == "provider.method_not_allowed")
    );
    assert!(
        unsigned
            .iter()
            .all(|code| code == "provider.too_many_refusals")
    );
    let log = stage.log("provider");
    assert_eq!((log.messages.len(), log.closings.len()), (240, 0));
    // Ten records; the others are counted by the next one.
    assert_eq!(log.security.len(), 10);
    assert_eq!(stage.log("consumer").closings.len(), 15);
    // The next minute has its own.
    let answer = stage.call(60, SAY, None).await;
    assert_eq!(
        answer.field("x-road-refusal"),
        Some("provider.method_not_allowed")
    );
    stage.federation.audit().await.unwrap();
    stage.stop.send(true).unwrap();
    stage.provider.await.unwrap().unwrap();
    stage.federation.stop().await.unwrap();
}
