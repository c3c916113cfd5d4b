//! A provider in this process that says what it is told: at once, thrice, or when the test lets it.

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use trust::MethodPath;

use crate::{
    Error,
    caller::Method,
    federation::{ClientPlan, Plan, RightPlan, ServerPlan, ServicePlan},
};

/// The gRPC service.
pub const SERVICE: &str = "test.echo.v1.Echo";

/// Answers with the message of the request.
pub const SAY: &str = "/test.echo.v1.Echo/Say";

/// Answers with it three times.
pub const REPEAT: &str = "/test.echo.v1.Echo/Repeat";

/// Answers with it at once, then again at every [`Echo::release`], for ever.
pub const FOLLOW: &str = "/test.echo.v1.Echo/Follow";

/// A method that the provider does not have and nobody has a right to.
pub const ELSEWHERE: &str = "/test.echo.v1.Elsewhere/Say";

/// The service's description for clients.
const PROTO: &str = r#"syntax = "proto3";
package test.echo.v1;

message Text {
  string text = 1;
}

service Echo {
  rpc Say(Text) returns (Text);
  rpc Repeat(Text) returns (stream Text);
  rpc Follow(Text) returns (stream Text);
}
"#;

/// The subsystem that asks in [`plan`], at the server `consumer`.
pub const CLIENT: &str = "VN/GOV/A/client";

/// The subsystem that answers in [`plan`], at the server `provider`.
pub const PROVIDER: &str = "VN/GOV/B/echo";

/// Two servers: the subsystem [`CLIENT`] may call the service [`SERVICE`] of [`PROVIDER`].
#[must_use]
pub fn plan(adapter: &str) -> Plan {
    let server = |code: &str, member: &str, name: &str| ServerPlan {
        code: code.to_owned(),
        member: member.to_owned(),
        name: name.to_owned(),
        subsystems: Vec::new(),
        services: Vec::new(),
        clients: Vec::new(),
        rights: Vec::new(),
    };
    let consumer = ServerPlan {
        subsystems: vec!["client".to_owned()],
        clients: vec![ClientPlan {
            name: "client".to_owned(),
            subsystem: "client".to_owned(),
        }],
        ..server("consumer", "VN/GOV/A", "An agency that asks")
    };
    let provider = ServerPlan {
        subsystems: vec!["echo".to_owned()],
        services: vec![ServicePlan {
            subsystem: "echo".to_owned(),
            grpc_service: SERVICE.to_owned(),
            adapter: adapter.to_owned(),
            descriptor: None,
        }],
        rights: vec![RightPlan {
            id: "echo".to_owned(),
            client: CLIENT.to_owned(),
            subsystem: "echo".to_owned(),
            grpc_service: SERVICE.to_owned(),
            methods: Vec::new(),
            purposes: Vec::new(),
        }],
        ..server("provider", "VN/GOV/B", "An agency that answers")
    };
    Plan {
        instance: "VN".to_owned(),
        servers: vec![consumer, provider],
    }
}

/// An encoded `Text` of so many bytes in all: six to 256 MiB.
#[must_use]
pub fn text_of(length: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(length);
    message.put_u8(0x0a);
    // The length of the text in four bytes of a varint, whatever it is.
    let text = length - 5;
    for shift in [0, 7, 14] {
        message.put_u8((text >> shift) as u8 & 0x7f | 0x80);
    }
    message.put_u8((text >> 21) as u8);
    message.put_bytes(b'x', text);
    message.freeze()
}

/// A method of the service, e.g. [`SAY`], for a [`crate::caller::Caller`].
///
/// # Errors
/// When there is no such method, or its description cannot be written to the directory.
pub fn method(directory: &Path, path: &str) -> Result<Method, Error> {
    let proto = directory.join("echo.proto");
    fs::write(&proto, PROTO)?;
    let path = MethodPath::parse(path)?;
    Method::load(&proto, path.service(), path.method())
}

/// The running provider; it ends when this is dropped.
pub struct Echo {
    /// `http://ADDRESS:PORT`
    pub address: String,
    calls: Arc<Mutex<Vec<String>>>,
    released: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Echo {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self, Error> {
        Self::with_places(200).await
    }

    /// Starts it for so many calls at once on a connection; more have to wait for one to end.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn with_places(places: u32) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let calls = Arc::<Mutex<Vec<String>>>::default();
        let released = watch::Sender::new(());
        let (counted, releases) = (Arc::clone(&calls), released.subscribe());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(
                    stream,
                    places,
                    Arc::clone(&counted),
                    releases.clone(),
                ));
            }
        });
        Ok(Self {
            address,
            calls,
            released,
            serving,
        })
    }

    /// How often it was called so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.exchanges().len()
    }

    /// The exchanges of which it was called so far, once for each call.
    #[must_use]
    pub fn exchanges(&self) -> Vec<String> {
        locked(&self.calls).clone()
    }

    /// Lets every call of [`FOLLOW`] answer once more.
    pub fn release(&self) {
        self.released.send_replace(());
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(calls: &Mutex<Vec<String>>) -> MutexGuard<'_, Vec<String>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(
    stream: TcpStream,
    places: u32,
    calls: Arc<Mutex<Vec<String>>>,
    releases: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let exchange = request.headers().get("x-road-exchange-id");
        let exchange = exchange.and_then(|value| value.to_str().ok());
        locked(&calls).push(exchange.unwrap_or_default().to_owned());
        let (sender, frames) = mpsc::channel(1);
        tokio::spawn(answer(request, sender, releases.clone()));
        let mut response = Response::new(StreamBody::new(ReceiverStream::new(frames)));
        let content_type = HeaderValue::from_static("application/grpc");
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // A connection that breaks is the caller's affair.
    let _ = Builder::new(TokioExecutor::new())
        .max_concurrent_streams(places)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Answer = Result<Frame<Bytes>, Infallible>;
type Answers = mpsc::Sender<Answer>;
type Gone = mpsc::error::SendError<Answer>;

/// Messages go back as they came, with their prefix, so one message in a request is taken whole.
async fn answer(request: Request<Incoming>, answers: Answers, releases: watch::Receiver<()>) {
    let path = request.uri().path().to_owned();
    let Ok(message) = request.into_body().collect().await else {
        return; // the caller broke off
    };
    let message = message.to_bytes();
    // A caller that is gone needs no answer.
    let _ = match path.as_str() {
        SAY => say(1, message, &answers).await,
        REPEAT => say(3, message, &answers).await,
        FOLLOW => follow(message, &answers, releases).await,
        _ => end(&answers, "12").await, // UNIMPLEMENTED
    };
}

async fn say(times: usize, message: Bytes, answers: &Answers) -> Result<(), Gone> {
    for _ in 0..times {
        answers.send(Ok(Frame::data(message.clone()))).await?;
    }
    end(answers, "0").await
}

async fn follow(
    message: Bytes,
    answers: &Answers,
    mut releases: watch::Receiver<()>,
) -> Result<(), Gone> {
    releases.mark_unchanged();
    loop {
        answers.send(Ok(Frame::data(message.clone()))).await?;
        tokio::select! {
            released = releases.changed() => if released.is_err() { return Ok(()) },
            () = answers.closed() => return Ok(()),
        }
    }
}

async fn end(answers: &Answers, status: &'static str) -> Result<(), Gone> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    answers.send(Ok(Frame::trailers(trailers))).await
}
