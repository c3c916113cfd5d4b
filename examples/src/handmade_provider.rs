//! A provider's security server played by hand: it answers as a test tells it to.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use certs::{
    Role,
    tls::{PeerTls, ReplaceableIdentity},
};
use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame as BodyFrame, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::exchange::{Frame, GetCheckpointReply, frame};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use trust::{
    Digest,
    header::{Answers, Direction, Header, Statements},
    message::KeptMessage,
};

use crate::{
    Error,
    federation::{Federation, Server},
    peer::KnownServer,
    waiting::PATIENCE,
};

/// What is answered about the log; nothing: the call is not offered.
type Proofs = Arc<Mutex<Option<GetCheckpointReply>>>;

/// The place in its log that it promises for every request.
pub const PROMISED_PLACE: u64 = 4711;

type Replies = mpsc::Sender<Result<BodyFrame<Bytes>, io::Error>>;

/// A listener for one consumer's security server; it ends when this is dropped.
pub struct HandmadeProvider {
    proofs: Proofs,
    calls: mpsc::Receiver<(Incoming, Replies)>,
    serving: JoinHandle<()>,
}

impl HandmadeProvider {
    /// Answers `consumer` on a bound socket, showing an authentication certificate.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn start(
        listener: TcpListener,
        (certificate, key): (&Path, &Path),
        federation: &Federation,
        consumer: &Server,
    ) -> Result<Self, Error> {
        let identity = ReplaceableIdentity::load(Role::Authentication, certificate, key)?;
        let known = Arc::new(KnownServer::of(federation, consumer)?);
        let tls = TlsAcceptor::from(PeerTls::new(identity, known).listener()?);
        let (arrived, calls) = mpsc::channel(16);
        let proofs = Proofs::default();
        let given = Arc::clone(&proofs);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(
                    tls.clone(),
                    stream,
                    arrived.clone(),
                    Arc::clone(&given),
                ));
            }
        });
        Ok(Self {
            proofs,
            calls,
            serving,
        })
    }

    /// What is answered about the log from now on.
    pub fn prove(&self, proofs: Option<GetCheckpointReply>) {
        *self.proofs.lock().unwrap_or_else(PoisonError::into_inner) = proofs;
    }

    /// The next call, with its first request.
    ///
    /// # Errors
    /// When none comes, or it does not begin with a request.
    pub async fn next_call(&mut self) -> Result<ReceivedCall, Error> {
        let arrived = timeout(PATIENCE, self.calls.recv()).await?;
        let (mut requests, replies) = arrived.ok_or("the listener has ended")?;
        let envelope = timeout(PATIENCE, first_envelope(&mut requests)).await??;
        let first = KeptMessage::parse(envelope.header, envelope.signature)?;
        Ok(ReceivedCall {
            digest: first.digest(),
            request: first.header().clone(),
            replies,
            _requests: requests,
        })
    }
}

impl Drop for HandmadeProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    tls: TlsAcceptor,
    stream: TcpStream,
    arrived: mpsc::Sender<(Incoming, Replies)>,
    proofs: Proofs,
) {
    let Ok(stream) = tls.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let (arrived, proofs) = (arrived.clone(), Arc::clone(&proofs));
        async move {
            let (replies, frames) = mpsc::channel(64);
            if request.uri().path().ends_with("/GetCheckpoint") {
                for frame in proven(&proofs) {
                    let _ = replies.send(Ok(frame)).await;
                }
            } else {
                // Without a test that listens the call is reset.
                let _ = arrived.send((request.into_body(), replies)).await;
            }
            let mut response = Response::new(StreamBody::new(ReceiverStream::new(frames)));
            let grpc = http::HeaderValue::from_static("application/grpc");
            response.headers_mut().insert(header::CONTENT_TYPE, grpc);
            Ok::<_, Infallible>(response)
        }
    });
    // A connection that breaks is the consumer's affair.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// The answer about the log: what a test has said, or that there is no such call.
fn proven(proofs: &Proofs) -> Vec<BodyFrame<Bytes>> {
    let proofs = proofs.lock().unwrap_or_else(PoisonError::into_inner);
    let status = |code: u32| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.into());
        BodyFrame::trailers(trailers)
    };
    match &*proofs {
        Some(reply) => vec![BodyFrame::data(prefixed(reply)), status(0)],
        None => vec![status(12)],
    }
}

/// A gRPC message with its prefix.
fn prefixed(message: &impl Message) -> Bytes {
    let message = message.encode_to_vec();
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    bytes.put_slice(&message);
    bytes.freeze()
}

/// Reads up to the first envelope; certificates that come before it are passed over.
async fn first_envelope(requests: &mut Incoming) -> Result<trust::wire::evidence::Envelope, Error> {
    let mut read = BytesMut::new();
    while let Some(part) = requests.frame().await {
        if let Ok(data) = part?.into_data() {
            read.put(data);
        }
        while let Some(message) = message_of(&mut read) {
            if let Some(frame::Body::Envelope(envelope)) = Frame::decode(message)?.body {
                return Ok(envelope);
            }
        }
    }
    Err("the call has no request".into())
}

/// Takes one gRPC message off, if it is there as a whole.
fn message_of(read: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(read.get(1..5)?.try_into().ok()?) as usize;
    read.get(5..5 + length)?;
    read.advance(5);
    Some(read.split_to(length).freeze())
}

/// A call that waits for its answer.
pub struct ReceivedCall {
    /// The header of the first request.
    pub request: Header,
    /// Its digest.
    pub digest: Digest,
    replies: Replies,
    _requests: Incoming,
}

impl ReceivedCall {
    /// A correct header of the first and final reply, saying OK.
    #[must_use]
    pub fn reply(&self) -> Header {
        Header {
            direction: Direction::Reply,
            is_final: true,
            sequence: 0,
            previous: None,
            deadline_milliseconds: None,
            statements: Statements::default(),
            answers: Some(Answers {
                first_request: self.digest,
                newest_sequence: self.request.sequence,
                newest_request: self.digest,
            }),
            status_code: Some(0),
            promise: Some(trust::wire::evidence::Promise {
                origin: format!("{}/1", self.request.parties.provider),
                index: PROMISED_PLACE,
                annex_digest: Digest::of(b"nobody has seen it").to_bytes(),
            }),
            ..self.request.clone()
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the consumer no longer listens.
    pub async fn send(&self, frame: &Frame) -> Result<(), Error> {
        self.send_bytes(prefixed(frame)).await
    }

    /// Sends bytes that are no frame, or half of one.
    ///
    /// # Errors
    /// When the consumer no longer listens.
    pub async fn send_bytes(&self, bytes: Bytes) -> Result<(), Error> {
        Ok(self.replies.send(Ok(BodyFrame::data(bytes))).await?)
    }

    /// Ends the call with trailers.
    ///
    /// # Errors
    /// When the consumer no longer listens.
    pub async fn end(self, trailers: &[(&'static str, &str)]) -> Result<(), Error> {
        let mut map = HeaderMap::new();
        for (name, value) in trailers {
            map.insert(HeaderName::from_static(name), value.parse()?);
        }
        Ok(self.replies.send(Ok(BodyFrame::trailers(map))).await?)
    }

    /// Breaks the call off.
    ///
    /// # Errors
    /// When the consumer no longer listens.
    pub async fn reset(self) -> Result<(), Error> {
        let broken = io::Error::other("broken off");
        Ok(self.replies.send(Err(broken)).await?)
    }

    /// Says nothing more until the consumer has given up.
    pub async fn wait_until_given_up(self) {
        self.replies.closed().await;
    }
}
