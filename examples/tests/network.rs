//! Links that are cut, held and slow: every call has a definite end, and the next one goes through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsStr,
    fs,
    future::ready,
    time::Duration,
};

use examples::{
    bare_caller::{Answer, BareCaller},
    benchmark::usage::Usage,
    echo::{self, CLIENT, Echo, FOLLOW, PROVIDER, SAY},
    exchanges::Exchanges,
    federation::Federation,
    link::{Link, Passage},
    message_log::MessageLog,
    waiting::wait_for,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use trust::{Content, ExchangeId, header::Direction};

/// A `Text` that says "hi".
const HI: &[u8] = b"\x0a\x02hi";
/// Longer than a connection may be silent before it is given up, at either end.
const SILENCE: Duration = Duration::from_secs(60);
/// A new connection and a call take some nine thousand bytes, both ways.
const BYTES: usize = 9_500;

const SERVERS: [&str; 2] = ["consumer", "provider"];

/// The deadline has passed, whoever noticed it first.
const LATE: &str = "late";

struct Stage {
    federation: Federation,
    echo: Echo,
    caller: BareCaller,
    between_servers: Link,
    to_adapter: Link,
    answered: HashSet<ExchangeId>,
    refused: HashSet<ExchangeId>,
    outcomes: BTreeMap<String, usize>,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// The consumer reaches the provider, and the provider its adapter, by links.
    async fn set() -> Self {
        Self::with_limits("").await
    }

    /// The same with more lines under `[limits]` of both servers.
    async fn with_limits(limits: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let to_adapter = Link::to(echo.address.trim_start_matches("http://"));
        let to_adapter = to_adapter.await.unwrap();
        let plan = echo::plan(&format!("http://{}", to_adapter.address));
        let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
        for name in SERVERS {
            let server = federation.server_mut(name).unwrap();
            let path = server.path("server.toml");
            let settings = fs::read_to_string(&path).unwrap();
            server.stop().await.unwrap();
            let settings = settings.replace("[limits]\n", &format!("[limits]\n{limits}"));
            fs::write(&path, settings).unwrap();
            server.start().await.unwrap();
        }
        let provider = federation.server_mut("provider").unwrap();
        let between_servers = Link::to(&provider.endpoint().exchange).await.unwrap();
        provider.be_reached_at(&between_servers.address);
        federation.register(&plan).await.unwrap();
        let consumer = federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
        Self {
            caller: caller.await.unwrap(),
            federation,
            echo,
            between_servers,
            to_adapter,
            answered: HashSet::new(),
            refused: HashSet::new(),
            outcomes: BTreeMap::new(),
            _directory: directory,
        }
    }

    async fn another_caller(&self) -> BareCaller {
        let consumer = self.federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
        caller.await.unwrap()
    }

    /// The most memory that a server has used, in bytes.
    fn most_memory(&self, server: &str) -> u64 {
        let process = self.federation.server(server).unwrap().process_id();
        Usage::of(process.unwrap()).unwrap().most_resident
    }

    /// Lets the next call make a new connection between the servers.
    async fn connect_anew(&self) {
        self.between_servers.set(Passage::Cut);
        self.between_servers.wait_until_unused().await.unwrap();
        self.between_servers.set(Passage::Open);
    }

    /// One call, which has an end; the code of its refusal, or "OK".
    async fn call(&mut self, path: &str, deadline: Option<&str>) -> String {
        let mut metadata = vec![("x-road-service", PROVIDER)];
        metadata.extend(deadline.map(|deadline| ("grpc-timeout", deadline)));
        let called = timeout(SILENCE, self.caller.call(path, &metadata, HI));
        let answer = called.await.expect("a call has an end").unwrap();
        self.note(&answer)
    }

    fn note(&mut self, answer: &Answer) -> String {
        let Some(id) = answer.field("x-road-exchange-id") else {
            // The client has its own clock, and mostly is the first to give up.
            let given_up = [tonic::Code::DeadlineExceeded, tonic::Code::Cancelled];
            assert!(given_up.contains(&answer.status.code()), "{answer:?}");
            *self.outcomes.entry(LATE.to_owned()).or_default() += 1;
            return LATE.to_owned();
        };
        let id: ExchangeId = id.parse().unwrap();
        let outcome = match answer.field("x-road-refusal") {
            Some(code) if code.ends_with(".deadline_exceeded") => LATE.to_owned(),
            Some(code) => code.to_owned(),
            None => {
                assert_eq!(answer.status.code(), tonic::Code::Ok, "{answer:?}");
                assert_eq!(answer.messages, [HI]);
                assert!(self.answered.insert(id));
                "OK".to_owned()
            }
        };
        if outcome != "OK" && answer.field("x-road-request-hash").is_some() {
            self.refused.insert(id);
        }
        *self.outcomes.entry(outcome.clone()).or_default() += 1;
        outcome
    }

    /// Every exchange has one end, the same in both logs as at the client, and reached the adapter
    /// at most once.
    async fn check(mut self) {
        eprintln!("{:?}", self.outcomes);
        for server in SERVERS {
            let server = self.federation.server_mut(server).unwrap();
            server.stop().await.unwrap();
        }
        let [consumer, provider] = SERVERS.map(|server| {
            let server = self.federation.server(server).unwrap();
            let exchanges = Exchanges::read(&server.endpoint().log).unwrap();
            exchanges.check_ends().unwrap();
            exchanges
        });
        Exchanges::agree_with(&consumer, &provider, &self.answered, &self.refused).unwrap();
        let reached = self.echo.exchanges();
        let once: HashSet<_> = reached.iter().collect();
        assert_eq!(once.len(), reached.len(), "the adapter was called twice");
        self.federation.audit().await.unwrap();
        let reconciled = self.federation.reconcile("consumer", "provider").await;
        assert_eq!(reconciled.unwrap()["failures"], 0);
        self.federation.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_anywhere_in_a_handshake_or_a_call_is_made_again() {
    let mut stage = Stage::set().await;
    for bytes in (0..BYTES).step_by(190) {
        stage.connect_anew().await;
        stage.between_servers.set_after(bytes, Passage::Cut);
        stage.call(SAY, None).await;
        stage.between_servers.set(Passage::Open);
        assert_eq!(stage.call(SAY, None).await, "OK", "after {bytes} bytes");
    }
    let outcomes: Vec<_> = stage.outcomes.keys().map(String::as_str).collect();
    let expected = ["OK", "consumer.peer_lost", "consumer.peer_unreachable"];
    assert_eq!(outcomes, expected);
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_held_anywhere_in_a_handshake_or_a_call_costs_no_more_than_the_deadline() {
    let mut stage = Stage::set().await;
    for bytes in (0..BYTES).step_by(950) {
        stage.connect_anew().await;
        stage.between_servers.set_after(bytes, Passage::Held);
        let held = stage.call(SAY, Some("300m")).await;
        assert!(["OK", LATE].contains(&&*held), "{held} after {bytes} bytes");
        stage.between_servers.set(Passage::Open);
        assert_eq!(stage.call(SAY, None).await, "OK", "after {bytes} bytes");
    }
    assert!(stage.outcomes[LATE] >= 5);
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_the_adapter_that_is_cut_or_held_ends_calls_and_is_made_again() {
    let mut stage = Stage::set().await;
    assert_eq!(stage.call(SAY, None).await, "OK");
    // A connection and a call to the adapter are some hundreds of bytes.
    for bytes in (0..800).step_by(40) {
        stage.to_adapter.set_after(bytes, Passage::Cut);
        stage.call(SAY, None).await;
        stage.to_adapter.set(Passage::Open);
        assert_eq!(stage.call(SAY, None).await, "OK", "after {bytes} bytes");
    }
    assert!(stage.outcomes["provider.adapter_failed"] >= 3);
    stage.to_adapter.set(Passage::Held);
    assert_eq!(stage.call(SAY, Some("300m")).await, LATE);
    stage.to_adapter.set(Passage::Open);
    assert_eq!(stage.call(SAY, None).await, "OK");
    stage.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn byte_by_byte_everything_arrives() {
    let mut stage = Stage::set().await;
    let byte = Passage::Slow {
        bytes: 1,
        pause: Duration::ZERO,
    };
    stage.connect_anew().await;
    stage.between_servers.set(byte);
    stage.to_adapter.set(byte);
    for _ in 0..3 {
        assert_eq!(stage.call(SAY, None).await, "OK");
    }
    stage.check().await;
}

/// What is asked for is many times what may be held.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_slow_link_no_more_waits_than_there_is_memory_for() {
    const MEBIBYTE: u64 = 1 << 20;
    const BUDGET: u64 = 8 * MEBIBYTE;
    const MESSAGE: usize = 500_000;
    const CONNECTIONS: u64 = 16;
    const CALLS: usize = 32;
    // What may be sent ahead in each call, and the buffers of TLS and of the log.
    const OTHERS: u64 = CONNECTIONS * CALLS as u64 * 64 * 1024 + 48 * MEBIBYTE;
    let limits = format!("message_bytes = 1000000\nbudget_bytes = {BUDGET}\n");
    let mut stage = Stage::with_limits(&limits).await;
    assert_eq!(stage.call(SAY, None).await, "OK");
    let before = SERVERS.map(|server| stage.most_memory(server));
    stage.between_servers.set(Passage::Slow {
        bytes: 16 * 1024,
        pause: Duration::from_millis(1),
    });
    let message = echo::text_of(MESSAGE);
    let mut calls = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let caller = stage.another_caller().await;
        for _ in 0..CALLS {
            let (caller, message) = (caller.clone(), message.clone());
            calls.spawn(async move {
                let metadata = [("x-road-service", PROVIDER)];
                caller.call(SAY, &metadata, &message).await.unwrap()
            });
        }
    }
    let mut outcomes = BTreeMap::<_, usize>::new();
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        let outcome = answer.field("x-road-refusal").unwrap_or("OK");
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }
    let most = SERVERS.map(|server| stage.most_memory(server));
    let grown: Vec<_> = most
        .iter()
        .zip(before)
        .map(|(most, before)| most - before)
        .collect();
    eprintln!("{outcomes:?}, bytes more: {grown:?}");
    let outcomes: Vec<_> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(outcomes, ["OK", "consumer.busy"]);
    assert!(
        grown.iter().all(|grown| *grown < BUDGET + OTHERS),
        "{grown:?}"
    );
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}

/// What they leave behind arrives at once: calls and their ends, before anybody has looked at them.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_given_up_take_down_nobody_with_whom_they_share_a_connection() {
    let mut stage = Stage::set().await;
    let staying = {
        let caller = stage.another_caller().await;
        let call = async move {
            caller
                .call(FOLLOW, &[("x-road-service", PROVIDER)], HI)
                .await
        };
        tokio::spawn(call)
    };
    let echo = &stage.echo;
    wait_for("the stream to reach the adapter", || {
        ready((echo.calls() > 0).then_some(()))
    })
    .await
    .unwrap();
    let log = stage
        .federation
        .server("consumer")
        .unwrap()
        .endpoint()
        .log
        .clone();
    stage.between_servers.set(Passage::Held);
    for _ in 0..100 {
        assert_eq!(stage.call(SAY, Some("20m")).await, LATE);
    }
    stage.between_servers.set(Passage::Open);
    assert_eq!(stage.call(SAY, None).await, "OK");
    stage.echo.release();
    let answers = |log: &MessageLog| {
        let messages = log.messages.iter();
        let replies = messages.filter(|message| message.header.direction == Direction::Reply);
        let followed = replies.filter(|reply| FOLLOW == reply.header.parties.method.to_string());
        let parsed =
            followed.map(|reply| Content::received(reply.content.clone()).parse().unwrap());
        parsed.filter(|content| content.message.is_some()).count()
    };
    let goes_on = || ready((answers(&MessageLog::read(&log).unwrap()) == 2).then_some(()));
    wait_for("the stream to go on", goes_on).await.unwrap();
    staying.abort();
    stage.federation.stop().await.unwrap();
}

/// The published files are fetched over a link that is cut and held in the middle of them, and slow.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_configuration_comes_over_a_bad_link_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let echo = Echo::start().await.unwrap();
    let plan = echo::plan(&echo.address);
    let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
    let registry = federation.registry.url.clone();
    let link = Link::to(registry.trim_start_matches("http://"))
        .await
        .unwrap();
    let consumer = federation.server_mut("consumer").unwrap();
    let path = consumer.path("server.toml");
    let settings = fs::read_to_string(&path).unwrap();
    consumer.stop().await.unwrap();
    fs::write(
        &path,
        settings.replace(&registry, &format!("http://{}", link.address)),
    )
    .unwrap();
    consumer.start().await.unwrap();
    let publish = async |number: usize| {
        let member = format!("VN/GOV/NEW-{number}");
        let arguments = [member.as_str(), "--name", "A new one"].map(OsStr::new);
        let added = federation.registry.officer(&["member", "add"], &arguments);
        added.await.unwrap();
        federation.registry.serial_after_changes().await.unwrap()
    };
    let consumer = federation.server("consumer").unwrap();
    for (number, bytes) in (0..1500).step_by(100).enumerate() {
        link.set_after(bytes, Passage::Cut);
        let serial = publish(number).await;
        link.wait_until(Passage::Cut).await.unwrap();
        link.set(Passage::Open);
        consumer.wait_for_serial(serial).await.unwrap();
    }
    link.set_after(700, Passage::Held);
    let serial = publish(100).await;
    link.wait_until(Passage::Held).await.unwrap();
    let shown = consumer.show().await.unwrap();
    assert!(shown["configuration_serial"].as_u64().unwrap() < serial);
    assert_eq!(shown["serving"], true);
    link.set(Passage::Slow {
        bytes: 10,
        pause: Duration::ZERO,
    });
    consumer.wait_for_serial(serial).await.unwrap();
    federation.stop().await.unwrap();
}

/// A silent peer, a silent adapter and connections that begin and do not go on: all are noticed by
/// somebody who has no deadline, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_what_waits_for_it_and_nothing_else() {
    let mut stage = Stage::set().await;
    let exchange = &stage
        .federation
        .server("provider")
        .unwrap()
        .endpoint()
        .exchange;
    let mut begun = Vec::new();
    // The beginning of a ClientHello of 512 bytes, more of it each time.
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    for length in [0, 1, 4, 5, 6, 11, 100, hello.len()] {
        let mut stream = TcpStream::connect(exchange).await.unwrap();
        stream.write_all(&hello[..length]).await.unwrap();
        begun.push(stream);
    }
    assert_eq!(stage.call(SAY, None).await, "OK");

    // Both calls are open when the link falls silent.
    let calls = [SAY, FOLLOW].map(|path| {
        let caller = stage.caller.clone();
        async move { caller.call(path, &[("x-road-service", PROVIDER)], HI).await }
    });
    let [unary, stream] = calls;
    let stream = tokio::spawn(stream);
    let echo = &stage.echo;
    wait_for("the stream to reach the adapter", || {
        ready((echo.calls() >= 2).then_some(()))
    })
    .await
    .unwrap();
    stage.between_servers.set(Passage::Held);
    let unary = tokio::spawn(unary);
    for call in [unary, stream] {
        let answer = timeout(SILENCE, call).await.expect("silence is noticed");
        assert_eq!(stage.note(&answer.unwrap().unwrap()), "consumer.peer_lost");
    }
    for mut stream in begun {
        let read = timeout(SILENCE, stream.read(&mut [0; 1])).await;
        assert!(!matches!(read.expect("it is closed"), Ok(1..)));
    }
    stage.between_servers.set(Passage::Open);
    assert_eq!(stage.call(SAY, None).await, "OK");
    stage.check().await;
}
