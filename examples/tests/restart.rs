//! What a server was told stays: through restarts, without views, and while the registry is down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;

use examples::{
    Error,
    bare_caller::BareCaller,
    caller::Caller,
    echo::{self, CLIENT, ELSEWHERE, Echo, FOLLOW, PROVIDER, REPEAT, SAY},
    federation::{Federation, Plan, Server},
    message_log::MessageLog,
    peer::{self, HandmadePeer, Member},
    waiting::wait_for,
};
use serde_json::json;
use tempfile::TempDir;
use tonic::{Code, Status};
use trust::ExchangeId;

/// A `Text` that says "hello".
const HELLO: &[u8] = b"\x0a\x05hello";
const EXPIRED: &str = "consumer.no_configuration";

struct Stage {
    echo: Echo,
    plan: Plan,
    federation: Federation,
    directory: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        let federation = Federation::start(directory.path(), &plan).await.unwrap();
        Self {
            echo,
            plan,
            federation,
            directory,
        }
    }

    fn consumer(&mut self) -> &mut Server {
        self.federation.server_mut("consumer").unwrap()
    }

    fn provider(&mut self) -> &mut Server {
        self.federation.server_mut("provider").unwrap()
    }

    /// Calls a method of the service: "OK", or the code of the refusal.
    async fn ask(&self, path: &str) -> String {
        self.ask_of(PROVIDER, path).await
    }

    async fn ask_of(&self, service: &str, path: &str) -> String {
        let consumer = self.federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
        let metadata = [("x-road-service", service)];
        let answer = caller.await.unwrap().call(path, &metadata, HELLO).await;
        let answer = answer.unwrap();
        let refusal = answer.field("x-road-refusal").map(ToOwned::to_owned);
        refusal.unwrap_or_else(|| format!("{:?}", answer.status.code()))
    }

    /// Opens the stream that does not end by itself and takes its first message.
    async fn follow(&self) -> Stream {
        let consumer = self.federation.server("consumer").unwrap();
        let caller = Caller::plaintext(consumer.plaintext(CLIENT).unwrap());
        self.follow_by(caller.await.unwrap()).await
    }

    async fn follow_by(&self, caller: Caller) -> Stream {
        let caller = caller.with("x-road-service", PROVIDER).unwrap();
        let method = echo::method(self.directory.path(), FOLLOW).unwrap();
        let opened = caller.server_streaming(&method, json!({ "text": "on" }));
        let response = opened.await.unwrap();
        let exchange = response.metadata().get("x-road-exchange-id").unwrap();
        let mut stream = Stream {
            exchange: exchange.to_str().unwrap().parse().unwrap(),
            replies: response.into_inner(),
        };
        assert!(stream.replies.message().await.unwrap().is_some());
        stream
    }

    fn log_of(&self, server: &str) -> MessageLog {
        let server = self.federation.server(server).unwrap();
        MessageLog::read(&server.endpoint().log).unwrap()
    }
}

struct Stream {
    exchange: ExchangeId,
    replies: tonic::Streaming<prost_reflect::DynamicMessage>,
}

async fn state_of(server: &Server) -> serde_json::Value {
    server.show().await.unwrap()["state"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_stay_until_they_are_withdrawn_and_then_end_at_once() {
    let mut stage = Stage::set().await;
    assert_eq!(stage.ask(SAY).await, "Ok");
    let before = state_of(stage.provider()).await;
    stage.provider().kill().await.unwrap();
    stage.provider().start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, "Ok");
    assert_eq!(state_of(stage.provider()).await, before);

    let granted = stage.provider().path("state.toml");
    let again = stage.provider().apply_file(&granted).await.unwrap();
    assert_eq!(again, "nothing to change\n");
    let shown = stage.provider().operate("show", &[]).await.unwrap();
    let shown_file = stage.provider().path("shown.toml");
    fs::write(&shown_file, shown).unwrap();
    let applied = stage.provider().apply_file(&shown_file).await.unwrap();
    assert_eq!(applied, "nothing to change\n");

    // The same server process from here on.
    let mut stream = stage.follow().await;
    stage.echo.release();
    assert!(stream.replies.message().await.unwrap().is_some());
    let mut withdrawn = stage.plan.servers[1].clone();
    withdrawn.rights.clear();
    stage.provider().apply(&withdrawn).await.unwrap();
    stage.echo.release();
    let ended = stream.replies.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied, "{ended}");
    assert_eq!(peer::refusal_code(&ended), "provider.access_denied");
    for server in ["consumer", "provider"] {
        let log = stage.log_of(server);
        let last = log.messages_of(stream.exchange).last().unwrap();
        let code = last.header.refusal_code.as_deref();
        assert_eq!(
            code,
            Some("provider.access_denied"),
            "in the {server}'s log"
        );
    }
    assert_eq!(stage.ask(SAY).await, "provider.access_denied");
    stage.provider().kill().await.unwrap();
    stage.provider().start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, "provider.access_denied");

    // What `show` printed before brings the right back.
    let applied = stage.provider().apply_file(&shown_file).await.unwrap();
    assert!(applied.starts_with("+ "), "{applied}");
    assert_eq!(stage.ask(SAY).await, "Ok");
    assert_eq!(state_of(stage.provider()).await, before);
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}

/// A stream of the consumer's client, taken over TLS with the client's certificate.
async fn follow_over_tls(stage: &Stage) -> Stream {
    let base = stage.directory.path();
    let consumer = stage.federation.server("consumer").unwrap();
    let caller = Caller::tls(
        consumer.endpoint().client_tls.as_deref().unwrap(),
        &base.join("trust/ca.pem"),
        &base.join("clients/client/client.pem"),
        &base.join("clients/client/client.key"),
    )
    .await;
    stage.follow_by(caller.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_disabled_or_forgotten_at_home_hears_no_more() {
    let mut stage = Stage::set().await;
    let state = fs::read_to_string(stage.consumer().path("state.toml")).unwrap();
    let certificate = state.find("[[client_certificates]]").unwrap();
    let changes = [
        (
            state.replace("[[subsystems]]\n", "[[subsystems]]\nenabled = false\n"),
            "consumer.subsystem_disabled",
        ),
        (state[..certificate].to_owned(), "consumer.not_identified"),
    ];
    for (changed, refusal) in changes {
        let mut stream = follow_over_tls(&stage).await;
        let file = stage.consumer().path("changed.toml");
        fs::write(&file, changed).unwrap();
        stage.consumer().apply_file(&file).await.unwrap();
        stage.echo.release();
        let ended = stream.replies.message().await.unwrap_err();
        assert_eq!(peer::refusal_code(&ended), refusal, "{ended}");
        let log = stage.log_of("consumer");
        let [closing] = log.closings_of(stream.exchange)[..] else {
            panic!("the stream is closed at home");
        };
        assert_eq!(refusal.strip_prefix("consumer."), Some(&*closing.outcome));
        let granted = stage.consumer().path("state.toml");
        stage.consumer().apply_file(&granted).await.unwrap();
    }
    let mut stream = follow_over_tls(&stage).await;
    stage.echo.release();
    assert!(stream.replies.message().await.unwrap().is_some());
    drop(stream);
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_view_everything_is_as_before() {
    let mut stage = Stage::set().await;
    let mut limited = stage.plan.servers[1].clone();
    limited.rights[0].methods = vec!["Say".to_owned()];
    stage.provider().apply(&limited).await.unwrap();
    let consumer = stage.federation.server("consumer").unwrap();
    let provider = stage.federation.server("provider").unwrap();
    let member = Member::of(consumer).unwrap();
    let header = peer::first_request((CLIENT, consumer), (PROVIDER, provider), SAY).unwrap();
    let request = member.sign(header, peer::content(Some(HELLO.to_vec())));
    let frames = [member.trust_material(), peer::envelope(&request.unwrap())];
    let opening = open(&stage, &frames).await;
    let mut opening = opening.unwrap();
    while opening.next().await.unwrap().is_some() {}

    let before = answers(&stage, &frames).await;
    let codes: Vec<&str> = before.codes.iter().map(String::as_str).collect();
    assert_eq!(
        codes,
        [
            "Ok",
            "provider.method_not_allowed",
            "consumer.unknown_service",
            "consumer.unknown_service",
            "provider.replayed",
        ]
    );
    for server in ["consumer", "provider"] {
        let server = stage.federation.server_mut(server).unwrap();
        server.stop().await.unwrap();
    }
    let audited = stage.federation.audit().await.unwrap();
    for server in ["consumer", "provider"] {
        let server = stage.federation.server(server).unwrap();
        fs::remove_dir_all(server.path("log/views")).unwrap();
    }
    assert_eq!(stage.federation.audit().await.unwrap(), audited);
    for server in ["consumer", "provider"] {
        let server = stage.federation.server_mut(server).unwrap();
        server.start().await.unwrap();
    }
    assert_eq!(answers(&stage, &frames).await, before);
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}

/// What the servers answer to the same questions.
#[derive(Debug, PartialEq)]
struct Answers {
    codes: Vec<String>,
    states: Vec<serde_json::Value>,
}

async fn answers(stage: &Stage, seen: &[proto::exchange::Frame]) -> Answers {
    let mut codes = Vec::new();
    for path in [SAY, REPEAT, ELSEWHERE] {
        codes.push(stage.ask(path).await);
    }
    codes.push(stage.ask_of("VN/GOV/B/nowhere", SAY).await);
    let status = match open(stage, seen).await {
        Ok(conversation) => conversation.refusal().await.unwrap(),
        Err(status) => status,
    };
    codes.push(peer::refusal_code(&status).to_owned());
    let mut states = Vec::new();
    for server in stage.federation.servers() {
        states.push(state_of(server).await);
    }
    Answers { codes, states }
}

async fn open(
    stage: &Stage,
    frames: &[proto::exchange::Frame],
) -> Result<peer::Conversation, Status> {
    let peer = HandmadePeer::connect(&stage.federation, "consumer", "provider");
    peer.await.unwrap().open(frames.to_vec()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_asked_to_stop_ends_well_although_a_stream_is_open() {
    let ended = end_of_a_stream_when_stopping("provider").await;
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    assert_eq!(peer::refusal_code(&ended), "provider.shutting_down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_asked_to_stop_ends_well_although_a_stream_is_open() {
    let ended = end_of_a_stream_when_stopping("consumer").await;
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    assert_eq!(peer::refusal_code(&ended), "consumer.shutting_down");
}

async fn end_of_a_stream_when_stopping(stopped: &str) -> Status {
    let mut stage = Stage::set().await;
    let mut stream = stage.follow().await;
    let server = stage.federation.server_mut(stopped).unwrap();
    server.stop().await.unwrap();
    let ended = stream.replies.message().await.unwrap_err();
    // The end is recorded before the server has stopped, not when it starts again.
    assert!(
        ends_once(&stage.log_of(stopped), stream.exchange),
        "{stopped}"
    );
    let server = stage.federation.server_mut(stopped).unwrap();
    server.start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, "Ok");
    for server in ["consumer", "provider"] {
        let log = stage.log_of(server);
        assert!(ends_once(&log, stream.exchange), "{server}");
    }
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
    ended
}

fn ends_once(log: &MessageLog, exchange: ExchangeId) -> bool {
    let messages = log.messages_of(exchange);
    let finals = messages.filter(|message| message.header.status_code.is_some());
    finals.count() + log.closings_of(exchange).len() == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_has_one_server_and_a_server_its_log() {
    let mut stage = Stage::set().await;
    let second = stage.provider().operate("run", &[]).await.unwrap_err();
    expect_words(
        &second,
        &["the message log cannot be opened", "another process"],
    );
    assert_eq!(stage.ask(SAY).await, "Ok");
    stage.provider().stop().await.unwrap();

    let again = stage.provider().operate("init", &[]).await.unwrap_err();
    expect_words(&again, &["already"]);
    let (log, aside) = (stage.provider().path("log"), stage.provider().path("aside"));
    fs::rename(&log, &aside).unwrap();
    let missing = stage.provider().start().await.unwrap_err();
    expect_words(
        &missing,
        &["the message log cannot be opened", "there is no log here"],
    );
    assert!(!log.exists(), "nothing was made in its place");
    fs::rename(&aside, &log).unwrap();
    stage.provider().start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, "Ok");
    stage.federation.stop().await.unwrap();
}

fn expect_words(error: &Error, words: &[&str]) {
    let said = error.to_string();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_servers_go_on_until_their_configuration_expires() {
    let mut stage = Stage::set().await;
    stage.federation.registry.kill().await.unwrap();
    stage.consumer().kill().await.unwrap();
    stage.consumer().start().await.unwrap();
    stage.provider().stop().await.unwrap();
    stage.provider().start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, "Ok");

    let registry = &mut stage.federation.registry;
    registry.set("validity_seconds", "3").unwrap();
    let expiries = expiries(&stage).await;
    stage.federation.registry.restart().await.unwrap();
    wait_for("publications of short validity", || async {
        let newer = self::expiries(&stage).await;
        let all = newer.iter().zip(&expiries).all(|(new, old)| new < old);
        all.then_some(())
    })
    .await
    .unwrap();
    assert_eq!(stage.ask(SAY).await, "Ok");
    stage.federation.registry.kill().await.unwrap();
    wait_for("the configuration to expire", || async {
        let code = stage.ask(SAY).await;
        // The provider's may be older by one publication.
        let expected = ["Ok", "provider.no_configuration", EXPIRED];
        assert!(expected.contains(&code.as_str()), "{code}");
        (code == EXPIRED).then_some(())
    })
    .await
    .unwrap();

    // A server that starts with an expired configuration refuses as well, and recovers by itself.
    stage.consumer().kill().await.unwrap();
    stage.consumer().start().await.unwrap();
    assert_eq!(stage.ask(SAY).await, EXPIRED);
    stage.federation.registry.restart().await.unwrap();
    wait_for("a new configuration", || async {
        (stage.ask(SAY).await == "Ok").then_some(())
    })
    .await
    .unwrap();
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}

async fn expiries(stage: &Stage) -> Vec<i64> {
    let mut expiries = Vec::new();
    for server in stage.federation.servers() {
        let shown = server.show().await.unwrap();
        expiries.push(shown["configuration_expires_at"].as_i64().unwrap());
    }
    expiries
}
