//! The bounds of a server over the wire: large messages, the byte budget, a listener of one service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs;

use bytes::{BufMut, Bytes, BytesMut};
use examples::{
    bare_caller::{Answer, BareCaller},
    echo::{self, CLIENT, Echo, PROVIDER, SAY, text_of},
    federation::Federation,
    waiting::wait_for,
};
use http::Request;
use http_body_util::StreamBody;
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// A federation whose consumer was started again with other settings.
struct Stage {
    federation: Federation,
    _echo: Echo,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// `change` gets `server.toml` of the consumer.
    async fn with(change: impl FnOnce(String) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
        let consumer = federation.server_mut("consumer").unwrap();
        let settings = consumer.path("server.toml");
        let text = change(fs::read_to_string(&settings).unwrap());
        consumer.stop().await.unwrap();
        fs::write(&settings, text).unwrap();
        consumer.start().await.unwrap();
        Self {
            federation,
            _echo: echo,
            _directory: directory,
        }
    }

    fn address(&self) -> String {
        let consumer = self.federation.server("consumer").unwrap();
        consumer.plaintext(CLIENT).unwrap().to_owned()
    }

    async fn caller(&self) -> BareCaller {
        BareCaller::plaintext(&self.address()).await.unwrap()
    }
}

async fn say(caller: &BareCaller, message: &[u8]) -> Answer {
    let metadata = [("x-road-service", PROVIDER)];
    caller.call(SAY, &metadata, message).await.unwrap()
}

fn is_refused(answer: &Answer, code: &str, says: &str) {
    let status = &answer.status;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(answer.field("x-road-refusal"), Some(code));
    assert!(status.message().contains(says), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_16_mebibytes_passes_and_one_byte_more_does_not() {
    let stage = Stage::with(|settings| settings).await;
    let caller = stage.caller().await;
    let largest = text_of(16 * 1024 * 1024);
    let answer = say(&caller, &largest).await;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    assert!(
        answer.messages == [largest.clone()],
        "another message came back"
    );
    let answer = say(&caller, &text_of(largest.len() + 1)).await;
    is_refused(
        &answer,
        "consumer.message_too_large",
        "over the limit of 16777216",
    );
    stage.federation.audit().await.unwrap();
}

/// Begins a call with the prefix of a large message and a little of it, and leaves it there.
async fn stall(address: &str, length: usize) -> impl Sized + use<> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let serving = tokio::spawn(connection);
    let (parts, body) = mpsc::channel::<Result<Frame<Bytes>, std::convert::Infallible>>(1);
    let request = Request::post(format!("http://{address}{SAY}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-road-service", PROVIDER)
        .body(StreamBody::new(ReceiverStream::new(body)))
        .unwrap();
    let answering = tokio::spawn(sender.send_request(request));
    let mut beginning = BytesMut::new();
    beginning.put_u8(0);
    beginning.put_u32(u32::try_from(length).unwrap());
    beginning.put_slice(&text_of(length)[..100]);
    parts
        .send(Ok(Frame::data(beginning.freeze())))
        .await
        .unwrap();
    (sender, serving, answering, parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_waits_and_is_then_refused() {
    const MESSAGE: usize = 1_900_000;
    let stage = Stage::with(|settings| {
        let limits = "[limits]\nmessage_bytes = 2000000\nbudget_bytes = 4000000\n";
        settings.replace("[limits]\n", limits)
    })
    .await;

    // Ten at once, of which two fit: the others wait for room, and none fails.
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        let caller = stage.caller().await;
        calls.spawn(async move { say(&caller, &text_of(MESSAGE)).await });
    }
    while let Some(answer) = calls.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
        assert_eq!(answer.messages[0].len(), MESSAGE);
    }

    // Two that announce and do not send hold the room; small ones still find some.
    let address = stage.address();
    let stalled = [
        stall(&address, MESSAGE).await,
        stall(&address, MESSAGE).await,
    ];
    let caller = stage.caller().await;
    let refused = say(&caller, &text_of(MESSAGE)).await;
    is_refused(
        &refused,
        "consumer.busy",
        "memory for messages under way is used up",
    );
    let small = say(&caller, &text_of(1000)).await;
    assert_eq!(small.status.code(), Code::Ok, "{:?}", small.status);
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_share_of_the_connections_and_no_more() {
    let stage = Stage::with(|settings| {
        settings.replace("[limits]\n", "[limits]\nconnections_per_address = 2\n")
    })
    .await;
    let (first, second) = (stage.caller().await, stage.caller().await);
    for caller in [&first, &second] {
        let answer = say(caller, &text_of(100)).await;
        assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    }
    // The system accepts a third one; the server closes it without a word.
    let mut third = TcpStream::connect(stage.address()).await.unwrap();
    assert_eq!(third.read(&mut [0; 1]).await.unwrap_or_default(), 0);
    drop(first);
    wait_for("the place of a connection that has ended", || async {
        let caller = BareCaller::plaintext(&stage.address()).await.ok()?;
        let answer = caller
            .call(SAY, &[("x-road-service", PROVIDER)], &text_of(100))
            .await;
        answer
            .ok()
            .filter(|answer| answer.status.code() == Code::Ok)
    })
    .await
    .unwrap();
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_one_service_serves_clients_that_set_no_metadata() {
    let stage = Stage::with(|settings| settings + &format!("service = \"{PROVIDER}\"\n")).await;
    let caller = stage.caller().await;
    let answer = caller.call(SAY, &[], &text_of(100)).await.unwrap();
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    assert!(answer.field("x-road-request-hash").is_some());
    // What the client says all the same is what counts.
    let elsewhere = [("x-road-service", "VN/GOV/B/nothing")];
    let answer = caller.call(SAY, &elsewhere, &text_of(100)).await.unwrap();
    assert_eq!(
        answer.field("x-road-refusal"),
        Some("consumer.unknown_service")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_have_an_end() {
    let stage = Stage::with(|settings| settings).await;
    let (caller, other) = (stage.caller().await, stage.caller().await);
    let value = "x".repeat(4 * 1024);
    let call = async |values: usize| {
        let mut metadata = vec![("x-road-service", PROVIDER)];
        metadata.extend((0..values).map(|_| ("large", value.as_str())));
        caller.call(SAY, &metadata, &text_of(100)).await.unwrap()
    };
    assert_eq!(call(2).await.status.code(), Code::Ok);
    // More than the bus carries: said in its own words.
    let refused = call(9).await;
    assert_eq!(
        refused.field("x-road-refusal"),
        Some("consumer.invalid_metadata"),
        "{refused:?}"
    );
    assert!(
        refused.status.message().contains("more than 32768"),
        "{refused:?}"
    );
    // More than is read at all: the stream ends, and nobody else notices.
    assert_ne!(call(100).await.status.code(), Code::Ok);
    assert_eq!(say(&other, &text_of(100)).await.status.code(), Code::Ok);
    assert_eq!(
        say(&stage.caller().await, &text_of(100))
            .await
            .status
            .code(),
        Code::Ok
    );
    stage.federation.stop().await.unwrap();
}
