//! The client of every chain: a closed loop of unary calls whose answers must equal the question.

use std::{
    cell::{Cell, OnceCell, RefCell},
    error::Error as _,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};
use trust::Digest;

use crate::{Error, benchmark::WINDOW, echo, waiting::PATIENCE};

/// How many calls are under way at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concurrency(pub usize);

impl Concurrency {
    /// On how many connections.
    #[must_use]
    pub fn connections(self) -> usize {
        self.0.min(8)
    }

    /// How many calls at once on the connection of this number.
    #[must_use]
    pub fn streams(self, connection: usize) -> usize {
        let connections = self.connections();
        self.0 / connections + usize::from(connection < self.0 % connections)
    }
}

/// What is sent, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// `ADDRESS:PORT` of the first hop.
    pub address: String,
    /// `x-road-service`, where the first hop asks for one.
    pub service: Option<&'static str>,
    /// Length of the message in bytes.
    pub payload: usize,
    /// Calls at once.
    pub concurrency: Concurrency,
    /// Calls before anything counts.
    pub warm_up: Duration,
    /// How long calls count; longer, until as many have ended as are made at once.
    pub duration: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome<S> {
    /// How long each call took that ended while calls counted, sorted.
    pub latencies: Vec<Duration>,
    /// How long calls counted, as measured.
    pub elapsed: Duration,
    /// How many calls failed, also while they did not count yet.
    pub failed: usize,
    /// Why the first of them did.
    pub first_failure: Option<String>,
    /// The samples taken when calls began to count, and when they ceased to.
    pub samples: [S; 2],
}

impl Load {
    /// Calls until the time is over.
    ///
    /// # Errors
    /// When a connection breaks, or next to no call ends. A call that fails by itself is counted.
    pub async fn run<S>(
        &self,
        mut sample: impl FnMut() -> Result<S, Error>,
    ) -> Result<Outcome<S>, Error> {
        let work = Rc::new(Work {
            uri: format!("http://{}{}", self.address, echo::SAY).parse()?,
            service: self.service.map(HeaderValue::from_static),
            message: message(self.payload),
            counts: Cell::new(false),
            stops: Cell::new(false),
            latencies: RefCell::default(),
            failed: Cell::default(),
            first_failure: OnceCell::new(),
            ended: Notify::new(),
        });
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let mut callers = JoinSet::new();
                for connection in 0..self.concurrency.connections() {
                    let sender = connect(&self.address).await?;
                    for _ in 0..self.concurrency.streams(connection) {
                        callers.spawn_local(Rc::clone(&work).call_until_stopped(sender.clone()));
                    }
                }
                unless_failed(&mut callers, sleep(self.warm_up)).await?;
                let before = sample()?;
                let begun = Instant::now();
                work.counts.set(true);
                let long_enough = async {
                    sleep(self.duration).await;
                    work.until(self.concurrency.0).await;
                };
                unless_failed(&mut callers, timeout(self.duration + PATIENCE, long_enough))
                    .await??;
                work.counts.set(false);
                let elapsed = begun.elapsed();
                let after = sample()?;
                work.stops.set(true);
                while let Some(ended) = callers.join_next().await {
                    ended??;
                }
                let mut latencies = work.latencies.take();
                latencies.sort_unstable();
                Ok(Outcome {
                    latencies,
                    elapsed,
                    failed: work.failed.get(),
                    first_failure: work.first_failure.get().cloned(),
                    samples: [before, after],
                })
            })
            .await
    }
}

type Callers = JoinSet<Result<(), Error>>;

async fn unless_failed<T>(
    callers: &mut Callers,
    over: impl Future<Output = T>,
) -> Result<T, Error> {
    tokio::select! {
        over = over => Ok(over),
        ended = callers.join_next() => match ended {
            Some(ended) => Err(ended?.err().unwrap_or_else(|| "a caller stopped early".into())),
            None => Err("there is no caller".into()),
        },
    }
}

/// What all callers share; they run on one thread.
struct Work {
    uri: http::Uri,
    service: Option<HeaderValue>,
    message: Bytes,
    counts: Cell<bool>,
    stops: Cell<bool>,
    latencies: RefCell<Vec<Duration>>,
    failed: Cell<usize>,
    first_failure: OnceCell<String>,
    ended: Notify,
}

impl Work {
    /// Until so many calls have counted or failed.
    async fn until(&self, calls: usize) {
        while self.latencies.borrow().len() + self.failed.get() < calls {
            self.ended.notified().await;
        }
    }

    async fn call_until_stopped(self: Rc<Self>, mut sender: Sender) -> Result<(), Error> {
        while !self.stops.get() {
            let begun = Instant::now();
            if let Err(error) = self.call(&mut sender).await {
                if sender.is_closed() {
                    return Err(error);
                }
                self.failed.update(|failed| failed + 1);
                self.first_failure.get_or_init(|| error.to_string());
            } else if self.counts.get() {
                self.latencies.borrow_mut().push(begun.elapsed());
            }
            self.ended.notify_one();
        }
        Ok(())
    }

    async fn call(&self, sender: &mut Sender) -> Result<(), Error> {
        let mut request = Request::post(self.uri.clone()).body(Full::new(self.message.clone()))?;
        let headers = request.headers_mut();
        let content_type = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if let Some(service) = &self.service {
            headers.insert("x-road-service", service.clone());
        }
        sender.ready().await.map_err(with_cause)?;
        let response = sender.send_request(request).await.map_err(with_cause)?;
        let (head, mut body) = response.into_parts();
        let mut expected = self.message.clone();
        let mut status = head.headers.get("grpc-status").cloned();
        while let Some(frame) = body.frame().await {
            match frame.map_err(with_cause)?.into_data() {
                Ok(part) if expected.starts_with(&part) => expected.advance(part.len()),
                Ok(_) => return Err("an answer differs from what was sent".into()),
                Err(frame) => {
                    let trailers = frame.trailers_ref();
                    status = trailers.and_then(|trailers| trailers.get("grpc-status").cloned());
                }
            }
        }
        if status.as_ref().is_none_or(|status| status != "0") || expected.has_remaining() {
            return Err(format!(
                "a call failed: HTTP {}, grpc-status {status:?}, {:?}, {} bytes missing",
                head.status,
                head.headers,
                expected.remaining()
            )
            .into());
        }
        Ok(())
    }
}

/// hyper says what it was doing; its source says what went wrong.
fn with_cause(error: hyper::Error) -> Error {
    match error.source() {
        Some(cause) => format!("{error}: {cause}").into(),
        None => error.into(),
    }
}

type Sender = SendRequest<Full<Bytes>>;

async fn connect(address: &str) -> Result<Sender, Error> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(stream))
        .await?;
    // A connection that breaks shows as failed calls.
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// A gRPC message of so many bytes that nothing can compress, the same in every run.
fn message(length: usize) -> Bytes {
    let mut message = BytesMut::with_capacity(length + 37);
    message.put_u8(0);
    message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    for block in 0..length.div_ceil(32) {
        message.extend_from_slice(Digest::of(&block.to_be_bytes()).as_bytes());
    }
    message.truncate(length + 5);
    message.freeze()
}
