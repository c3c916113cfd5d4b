//! The bounds of a server over the wire: large messages, the byte budget, a listener of one service.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{convert::Infallible, fs, future::ready};

use bytes::{BufMut, Bytes, BytesMut};
use examples::{
    bare_caller::{Answer, BareCaller},
    caller::Caller,
    echo::{self, CLIENT, Echo, FOLLOW, PROVIDER, SAY, text_of},
    federation::Federation,
    message_log::{MessageEntry, MessageLog},
    process::{finish, program},
    waiting::wait_for,
};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    process::Command,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use trust::header::Direction;

/// A federation whose consumer was started again with other settings.
struct Stage {
    federation: Federation,
    echo: Echo,
    directory: tempfile::TempDir,
}

impl Stage {
    /// `change` gets `server.toml` of the consumer.
    async fn with(change: impl Fn(String) -> String) -> Self {
        Self::of(Echo::start().await.unwrap(), &["consumer"], change).await
    }

    /// `change` gets `server.toml` of these servers.
    async fn of(echo: Echo, servers: &[&str], change: impl Fn(String) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = echo::plan(&echo.address);
        let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
        for server in servers {
            let server = federation.server_mut(server).unwrap();
            let settings = server.path("server.toml");
            let text = change(fs::read_to_string(&settings).unwrap());
            server.stop().await.unwrap();
            fs::write(&settings, text).unwrap();
            server.start().await.unwrap();
        }
        Self {
            federation,
            echo,
            directory,
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

type Part = Result<Frame<Bytes>, Infallible>;

type Parts = StreamBody<ReceiverStream<Part>>;

/// A call of which the client has sent as much as it likes, on a connection of its own.
struct Begun {
    parts: mpsc::Sender<Part>,
    answering: JoinHandle<hyper::Result<Response<Incoming>>>,
    _sender: http2::SendRequest<Parts>,
}

impl Begun {
    async fn new(address: &str) -> Self {
        let (parts, body) = mpsc::channel(1);
        Self::of(SAY, address, parts, body).await
    }

    /// What the channel holds already goes out together with the headers.
    async fn of(
        method: &str,
        address: &str,
        parts: mpsc::Sender<Part>,
        body: mpsc::Receiver<Part>,
    ) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            // As HTTP/2 has it: what is not read waits with the server.
            .initial_stream_window_size(65_535)
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("http://{address}{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("x-road-service", PROVIDER)
            .body(StreamBody::new(ReceiverStream::new(body)))
            .unwrap();
        Self {
            parts,
            answering: tokio::spawn(sender.send_request(request)),
            _sender: sender,
        }
    }

    /// Announces a message and sends so much of it.
    async fn send(&self, message: &[u8], length: usize) {
        self.parts.send(announced(message, length)).await.unwrap();
    }

    /// Ends the requests; gives the gRPC status and the length of all replies.
    async fn end(self) -> (String, usize) {
        drop(self.parts);
        let response = self.answering.await.unwrap().unwrap();
        let body = response.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = trailers
            .get("grpc-status")
            .map_or("", |it| it.to_str().unwrap());
        (status.to_owned(), body.to_bytes().len())
    }
}

/// The prefix of a message and so much of it.
fn announced(message: &[u8], length: usize) -> Part {
    let mut sent = BytesMut::new();
    sent.put_u8(0);
    sent.put_u32(u32::try_from(message.len()).unwrap());
    sent.put_slice(&message[..length]);
    Ok(Frame::data(sent.freeze()))
}

/// Begins a call with the prefix of a large message and a little of it, and leaves it there.
async fn stall(address: &str, message: &[u8]) -> Begun {
    let (parts, body) = mpsc::channel(1);
    parts.send(announced(message, 100)).await.unwrap();
    Begun::of(SAY, address, parts, body).await
}

/// The same behind an opening without a message, which the adapter has.
async fn stall_later(stage: &Stage, message: &[u8]) -> Begun {
    let calls = stage.echo.calls();
    let begun = Begun::new(&stage.address()).await;
    wait_for("the opening to reach the adapter", || {
        ready((stage.echo.calls() > calls).then_some(()))
    })
    .await
    .unwrap();
    begun.send(message, 100).await;
    begun
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_into_memory_waits_and_is_then_refused() {
    const MESSAGE: usize = 1_900_000;
    let stage = Stage::with(|settings| {
        let limits = "[limits]\nmessage_bytes = 2000000\nbudget_bytes = 24000000\n";
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

    // A stream of large replies, the first of which has come.
    let address = stage.address();
    let follow = echo::method(stage.directory.path(), FOLLOW).unwrap();
    let follower = Caller::plaintext(&address).await.unwrap();
    let follower = follower.with("x-road-service", PROVIDER).unwrap();
    let text = serde_json::json!({ "text": "x".repeat(MESSAGE - 10) });
    let replies = follower.server_streaming(&follow, text).await.unwrap();
    let mut replies = replies.into_inner();
    replies.message().await.unwrap().unwrap();

    // Some that announce and do not send hold the room of requests; small ones still find some. Whether a
    // message opens its exchange or comes after that is a matter of a millisecond, and each has its room.
    let caller = stage.caller().await;
    let large = text_of(MESSAGE);
    let mut stalled = vec![
        stall_later(&stage, &large).await,
        stall_later(&stage, &large).await,
    ];
    let mut refused = say(&caller, &large).await;
    while refused.status.code() == Code::Ok {
        assert!(stalled.len() < 10, "there is room for everybody");
        stalled.push(stall(&address, &large).await);
        refused = say(&caller, &large).await;
    }
    is_refused(
        &refused,
        "consumer.busy",
        "memory for requests of clients is used up",
    );
    let small = say(&caller, &text_of(1000)).await;
    assert_eq!(small.status.code(), Code::Ok, "{:?}", small.status);

    // Replies wait for no request: else two servers could wait for each other with all they have.
    stage.echo.release();
    let reply = replies.message().await.unwrap();
    assert!(reply.is_some(), "the stream has ended");
    drop(stalled);
}

/// Waits until so many requests of a kind are in a server's log.
async fn recorded(
    stage: &Stage,
    server: &str,
    count: usize,
    is_one: impl Fn(&MessageEntry) -> bool,
) {
    let log = &stage.federation.server(server).unwrap().endpoint().log;
    wait_for("requests to be recorded", || {
        let messages = MessageLog::read(log).unwrap().messages;
        let requests = messages
            .iter()
            .filter(|message| message.header.direction == Direction::Request);
        let found = requests.filter(|request| is_one(request)).count();
        ready((found == count).then_some(()))
    })
    .await
    .unwrap();
}

/// One has the adapter's only place and waits for room for its message; the other has room for its message, which opens
/// its exchange or follows an opening without one, and waits for the place.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_place_and_who_has_room_do_not_wait_for_each_other() {
    const MESSAGE: usize = 1_900_000;
    let room_for_one = |settings: String| {
        let limits = "[limits]\nmessage_bytes = 2000000\nbudget_bytes = 12000000\n";
        settings.replace("[limits]\n", limits)
    };
    let echo = Echo::with_places(1).await.unwrap();
    let stage = Stage::of(echo, &["consumer", "provider"], room_for_one).await;
    let address = stage.address();
    let message = text_of(MESSAGE);
    for (round, opens_without) in (1..).zip([false, true]) {
        let placed = Begun::new(&address).await;
        let calls = 2 * round - 1;
        wait_for("the first call to reach the adapter", || {
            ready((stage.echo.calls() == calls).then_some(()))
        })
        .await
        .unwrap();
        let waiting = Begun::new(&address).await;
        if opens_without {
            let is_opening = |request: &MessageEntry| request.header.sequence == 0;
            recorded(&stage, "provider", 2 * round, is_opening).await;
        }
        waiting.send(&message, MESSAGE).await;
        // Its message is in the consumer's memory, and not yet with the adapter.
        let is_large = |request: &MessageEntry| request.content.len() > MESSAGE;
        recorded(&stage, "consumer", calls, is_large).await;
        assert_eq!(stage.echo.calls(), calls);
        placed.send(&message, MESSAGE).await;
        assert_eq!(placed.end().await, ("0".to_owned(), MESSAGE + 5));
        assert_eq!(waiting.end().await, ("0".to_owned(), MESSAGE + 5));
    }
}

/// A client that answers pings and does not read a stream of replies holds the memory for one only until somebody waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_does_not_hold_up_the_replies_of_others() {
    const MESSAGE: usize = 1_900_000;
    let stage = Stage::with(|settings| {
        let limits = "[limits]\nmessage_bytes = 2000000\nbudget_bytes = 12000000\n";
        settings.replace("[limits]\n", limits)
    })
    .await;
    let message = text_of(MESSAGE);
    let (parts, body) = mpsc::channel(1);
    parts.send(announced(&message, MESSAGE)).await.unwrap();
    let unread = Begun::of(FOLLOW, &stage.address(), parts, body).await;
    drop(unread.parts);
    let response = unread.answering.await.unwrap().unwrap();
    let answer = say(&stage.caller().await, &message).await;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    assert_eq!(answer.messages, [message]);
    let broken = response.into_body().collect().await;
    assert!(broken.is_err(), "the answer that was not read is whole");
    stage.federation.audit().await.unwrap();
    for (server, ended) in [
        ("consumer", "closed busy"),
        ("provider", "closed cancelled"),
    ] {
        let log = &stage.federation.server(server).unwrap().endpoint().log;
        wait_for("the exchange to be closed", || async {
            let mut list = Command::new(program("auditor").unwrap());
            list.arg("list").arg(log).args(["--method", "Follow"]);
            let listed = String::from_utf8(finish(list).await.unwrap().stdout).unwrap();
            listed.contains(ended).then_some(())
        })
        .await
        .unwrap();
    }
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
