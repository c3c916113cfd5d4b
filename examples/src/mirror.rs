//! A provider in this process that answers with the metadata it saw and forges fields of the bus.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};

use crate::Error;

/// The gRPC service.
pub const SERVICE: &str = "foreign.mirror.v1.Mirror";

/// A method of it: answers with [`Seen`].
pub const LOOK: &str = "/foreign.mirror.v1.Mirror/Look";

/// A method of it: refuses without a body, as if a security server had refused.
pub const PRETEND: &str = "/foreign.mirror.v1.Mirror/Pretend";

/// What the provider saw of a call: the values of every header.
pub type Seen = BTreeMap<String, Vec<String>>;

/// Fields of the bus that the provider sets where only a security server may.
pub const FORGED: [(&str, &str); 6] = [
    ("x-road-exchange-id", "0198c0de-0000-7000-8000-000000000000"),
    ("x-road-id", "forged"),
    ("x-road-request-hash", "forged"),
    ("x-road-refusal", "provider.access_denied"),
    ("x-road-server", "VN/GOV/forged/server"),
    ("x-road-anything", "forged"),
];

/// The running provider; it ends when this is dropped.
pub struct Mirror {
    /// `http://ADDRESS:PORT`
    pub address: String,
    calls: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Mirror {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // As servers of gRPC do: the end of an answer does not wait for what came before to be acknowledged.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, Arc::clone(&counted)));
            }
        });
        Ok(Self {
            address,
            calls,
            serving,
        })
    }

    /// How often it was called so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve<S>(stream: S, calls: Arc<AtomicUsize>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        calls.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(answer(request).await) }
    });
    // A connection that breaks is the caller's affair.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Body = StreamBody<tokio_stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

async fn answer(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    // Answers after the last request, as a provider of one reply does.
    let whole = body.collect().await.is_ok();
    if head.uri.path() == PRETEND || !whole {
        let mut response = Response::new(StreamBody::new(tokio_stream::iter(Vec::new())));
        *response.headers_mut() = forged("7");
        return response;
    }
    let message = serde_json::to_vec(&seen(&head.headers)).unwrap_or_default();
    let frames = vec![
        Ok(Frame::data(prefixed(&message))),
        Ok(Frame::trailers(forged("0"))),
    ];
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    *response.headers_mut() = forged("");
    response
}

fn seen(headers: &HeaderMap) -> Seen {
    let mut seen = Seen::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        seen.entry(name.to_string()).or_default().push(value);
    }
    seen
}

fn forged(status: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in FORGED {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers.insert("mirror-own", HeaderValue::from_static("passes"));
    if !status.is_empty() {
        headers.insert("grpc-status", HeaderValue::from_static(status));
    }
    if status != "0" {
        let value = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers
}

/// A message with its five bytes of prefix.
fn prefixed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or_default());
    bytes.put_slice(message);
    bytes.freeze()
}
