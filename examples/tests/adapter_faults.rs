//! Adapters that are down, slow, break off or answer what is no answer: each ends with a definite,
//! recorded outcome that says whose fault it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{convert::Infallible, fs, io};

use bytes::Bytes;
use examples::{
    bare_caller::{Answer, BareCaller},
    echo::{self, CLIENT, PROVIDER},
    federation::Federation,
    message_log::{MessageEntry, MessageLog},
};
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use trust::{ExchangeId, header::Direction};

type Answers = mpsc::Sender<Result<Frame<Bytes>, io::Error>>;

const WHOLE: &[u8] = b"\0\0\0\0\x02hi";

/// What an adapter does when a method is called, and what becomes of it.
struct Fault {
    method: &'static str,
    answers: &'static [Step],
    refusal: &'static str,
    says: &'static str,
    /// How many messages reach the client before, at most: one that fails right after it is not kept.
    delivered: usize,
}

enum Step {
    Data(&'static [u8]),
    Status(&'static str),
    /// A status with a message of so many bytes.
    LongStatus(usize),
    Reset,
    /// Nothing more, until the caller gives up.
    Wait,
}

const FAILED: &str = "provider.adapter_failed";

const FAULTS: &[Fault] = &[
    Fault {
        method: "NoStatus",
        answers: &[Step::Data(WHOLE)],
        refusal: FAILED,
        says: "without a status",
        delivered: 1,
    },
    Fault {
        method: "HalfMessage",
        answers: &[Step::Data(b"\0\0\0\0\x09hi"), Step::Status("0")],
        refusal: FAILED,
        says: "ends in the middle",
        delivered: 0,
    },
    Fault {
        method: "Reset",
        // A reset takes back what HTTP/2 has not sent, the headers as well: the beginning of another
        // message is taken only when the first is on the wire.
        answers: &[Step::Data(WHOLE), Step::Data(b"\0"), Step::Reset],
        refusal: FAILED,
        says: "broke off in the middle",
        delivered: 1,
    },
    Fault {
        method: "NoFlag",
        answers: &[Step::Data(b"\x07\0\0\0\x02hi"), Step::Status("0")],
        refusal: FAILED,
        says: "the flag 7",
        delivered: 0,
    },
    Fault {
        method: "TooLarge",
        answers: &[Step::Data(b"\0\x7f\xff\xff\xff"), Step::Wait],
        refusal: "provider.message_too_large",
        says: "over the limit",
        delivered: 0,
    },
    Fault {
        method: "NoNumber",
        answers: &[Step::Data(WHOLE), Step::Status("fine")],
        refusal: FAILED,
        says: "without a status",
        delivered: 1,
    },
    Fault {
        method: "LongStatus",
        answers: &[Step::LongStatus(9000)],
        refusal: FAILED,
        says: "9000 bytes",
        delivered: 0,
    },
    Fault {
        method: "Silent",
        answers: &[Step::Wait],
        refusal: "provider.deadline_exceeded",
        says: "deadline",
        delivered: 0,
    },
    Fault {
        method: "SilentAfterOne",
        answers: &[Step::Data(WHOLE), Step::Wait],
        refusal: "provider.deadline_exceeded",
        says: "deadline",
        delivered: 1,
    },
];

/// An adapter of the faults above; a method that it does not know is answered with this status.
async fn adapter() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn serve(stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, frames) = mpsc::channel(1);
        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
        tokio::spawn(answer(method, answers));
        let mut response = Response::new(StreamBody::new(ReceiverStream::new(frames)));
        let content_type = http::HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", content_type);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // So much data waits in HTTP/2 at most: more is taken only when the former is on the wire.
    let _ = Builder::new(TokioExecutor::new())
        .max_send_buf_size(WHOLE.len())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(method: String, answers: Answers) {
    let fault = FAULTS.iter().find(|fault| fault.method == method);
    let unknown = [Step::Data(WHOLE), Step::Status("4711")];
    for step in fault.map_or(&unknown[..], |fault| fault.answers) {
        let frame = match step {
            Step::Data(bytes) => Ok(Frame::data(Bytes::from_static(bytes))),
            Step::Status(code) => Ok(Frame::trailers(status(code, ""))),
            Step::LongStatus(length) => Ok(Frame::trailers(status("3", &"x".repeat(*length)))),
            Step::Reset => Err(io::Error::other("broken off")),
            Step::Wait => return answers.closed().await,
        };
        // Whoever is gone needs no answer.
        let _ = answers.send(frame).await;
    }
}

fn status(code: &'static str, message: &str) -> http::HeaderMap {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(code));
    if !message.is_empty() {
        trailers.insert("grpc-message", message.parse().unwrap());
    }
    trailers
}

struct Stage {
    federation: Federation,
    caller: BareCaller,
    _directory: tempfile::TempDir,
}

impl Stage {
    async fn set(adapter: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = echo::plan(adapter);
        let federation = Federation::start(directory.path(), &plan).await.unwrap();
        let consumer = federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap());
        Self {
            caller: caller.await.unwrap(),
            federation,
            _directory: directory,
        }
    }

    /// Gives the service another adapter, and half a second for each call.
    async fn change_adapter(&self, from: &str, to: &str) {
        let provider = self.federation.server("provider").unwrap();
        let state = fs::read_to_string(provider.path("state.toml")).unwrap();
        let changed = state.replace(
            &format!("adapter = {from:?}\n"),
            &format!("adapter = {to:?}\ntimeout_milliseconds = 500\n"),
        );
        assert_ne!(changed, state);
        let file = provider.path("changed.toml");
        fs::write(&file, changed).unwrap();
        provider.apply_file(&file).await.unwrap();
    }

    async fn call(&self, method: &str) -> Answer {
        let metadata = [("x-road-service", PROVIDER)];
        let path = format!("/{}/{method}", echo::SERVICE);
        self.caller.call(&path, &metadata, b"hello").await.unwrap()
    }

    /// The refusal reached the client and is the last message in both logs; nothing else of the
    /// exchange is there but the request and what was delivered.
    fn check(&self, what: &str, answer: &Answer, refusal: &str, delivered: usize) {
        assert_eq!(
            answer.field("x-road-refusal"),
            Some(refusal),
            "{what}: {answer:?}"
        );
        let (most, delivered) = (delivered, answer.messages.len());
        assert!(delivered <= most, "{what}: {delivered}");
        let exchange = answer.field("x-road-exchange-id").unwrap();
        let exchange: ExchangeId = exchange.parse().unwrap();
        for server in ["consumer", "provider"] {
            let folder = &self.federation.server(server).unwrap().endpoint().log;
            let log = MessageLog::read(folder).unwrap();
            let messages: Vec<_> = log.messages_of(exchange).collect();
            let last = messages.last().unwrap();
            assert_eq!(
                last.header.refusal_code.as_deref(),
                Some(refusal),
                "{what}, {server}"
            );
            assert!(
                last.header.is_final && last.content.is_empty(),
                "{what}, {server}"
            );
            // Headers, message and end of a request may arrive apart; so may the headers of a reply.
            let is_request = |entry: &&&MessageEntry| entry.header.direction == Direction::Request;
            let requests = messages.iter().filter(is_request).count();
            let replies = messages.len() - 1 - requests;
            assert!(
                (1..=3).contains(&requests) && (delivered..=delivered + 1).contains(&replies),
                "{what}, {server}: {messages:#?}"
            );
            assert!(log.closings_of(exchange).is_empty() && log.security.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_adapter_does_wrong_is_the_recorded_end_of_the_call() {
    let address = adapter().await;
    let stage = Stage::set(&address).await;
    stage.change_adapter(&address, &address).await;
    for fault in FAULTS {
        let answer = stage.call(fault.method).await;
        stage.check(fault.method, &answer, fault.refusal, fault.delivered);
        let message = answer.status.message();
        assert!(message.contains(fault.says), "{}: {message}", fault.method);
        let named = if fault.refusal == FAILED {
            "adapter"
        } else {
            "client"
        };
        assert_eq!(
            answer.field("x-road-fault"),
            Some(named),
            "{}",
            fault.method
        );
        assert_eq!(answer.field("x-road-server"), Some("VN/GOV/B/provider"));
    }
    // A status that nobody knows is the adapter's word, and passes as direct calls show it.
    let answer = stage.call("UnknownStatus").await;
    assert_eq!(answer.messages.len(), 1);
    assert_eq!(answer.status.code(), Code::Unknown);
    assert_eq!(answer.field("x-road-refusal"), None);
    stage.federation.audit().await.unwrap();
    stage
        .federation
        .reconcile("consumer", "provider")
        .await
        .unwrap();
    stage.federation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_that_is_not_there_or_speaks_nothing_known_is_said() {
    let down = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", down.local_addr().unwrap());
    drop(down);
    let stage = Stage::set(&nobody).await;
    let answer = stage.call("Say").await;
    stage.check("nobody there", &answer, "provider.adapter_unreachable", 0);
    assert_eq!(answer.field("x-road-fault"), Some("adapter"));
    // Where it listens is nothing for callers.
    assert!(!answer.status.message().contains("127.0.0.1"), "{answer:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbage = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    stage.change_adapter(&nobody, &garbage).await;
    let answer = stage.call("Say").await;
    stage.check("no HTTP/2", &answer, FAILED, 0);

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    stage.change_adapter(&nobody, &address).await;
    let answer = stage.call("Say").await;
    stage.check(
        "accepts and says nothing",
        &answer,
        "provider.deadline_exceeded",
        0,
    );

    // And when it is back, no restart is needed.
    stage.change_adapter(&nobody, &adapter().await).await;
    assert_eq!(stage.call("UnknownStatus").await.messages.len(), 1);
    stage.federation.audit().await.unwrap();
    stage.federation.stop().await.unwrap();
}
