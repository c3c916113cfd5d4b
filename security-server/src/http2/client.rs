//! An outgoing connection, shared by many calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use certs::tls::describe_chain;
use h2::client::{Builder, ResponseFuture, SendRequest};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use trust::Digest;

use super::{
    line::{HEADER_LIST_LIMIT, Line, Listening, OF_CONNECTION, OF_SHARED, OnLine},
    received::ReceivedBody,
};
use crate::{
    crowd::{Crowd, behind},
    grpc::writer::MessageWriter,
};

/// How long the end of a connection is waited for, to say why a call on it broke off.
const END_PATIENCE: Duration = Duration::from_millis(200);
/// So many calls that were given up are remembered for so long: what is still under way to them is no
/// mistake of the other side, for which a connection is closed.
const GIVEN_UP: usize = 1024;
const GIVEN_UP_FOR: Duration = Duration::from_secs(30);
/// So many calls may begin before the other side has said how many it takes: more it would refuse.
const BEFORE_SETTINGS: usize = 100;

/// An open connection.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Bytes>,
    line: Line,
    /// Digest of the TLS certificate at the other end; none without TLS.
    pub(crate) certificate: Option<Digest>,
    /// Once it has ended: what TLS said, if it was TLS that ended it.
    ended: watch::Receiver<Option<Option<String>>>,
    /// Whether the other side has ever answered on it.
    answered: Arc<AtomicBool>,
    /// Wakes the connection when nobody holds it any more: it then closes.
    _held: Arc<DropGuard>,
}

/// A call that is not answered yet. Dropped, it is given up.
pub(crate) struct Answering {
    response: ResponseFuture,
    line: OnLine,
    connection: Connection,
}

impl Connection {
    /// The same, whose other end has shown this certificate.
    pub(crate) fn showing(self, certificate: Option<Digest>) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// Starts a call. It is sent once: it is never repeated on another connection.
    ///
    /// # Errors
    /// When the connection takes no calls any more.
    pub(crate) async fn call(
        &self,
        head: Request<()>,
    ) -> Result<(MessageWriter, Answering), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let (response, stream) = requests.send_request(head, false)?;
        let writer = MessageWriter::of_request(stream);
        let answering = Answering {
            response,
            line: self.line.enter(),
            connection: self.clone(),
        };
        // The other side may have as many calls as it wants: then this one waits for its turn.
        requests.ready().await?;
        Ok((writer, answering))
    }

    /// Whether it takes calls.
    pub(crate) fn is_open(&self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        let ready = self.requests.clone().poll_ready(&mut nobody);
        self.ended.borrow().is_none() && !matches!(ready, Poll::Ready(Err(_)))
    }

    /// Why a call on this connection broke off. With TLS 1.3 a side whose certificate is refused
    /// learns of it after it has sent, and then from the connection, not from the call.
    pub(crate) async fn why(&mut self, error: &h2::Error) -> String {
        if let Some(words) = tls_words(error) {
            return words;
        }
        let ended = timeout(END_PATIENCE, self.ended.wait_for(Option::is_some)).await;
        let said = match ended {
            Ok(Ok(ended)) => ended.clone().flatten(),
            Ok(Err(_)) | Err(_) => None,
        };
        // The alert that says so may be lost when the connection is cut behind it.
        let unanswered = !self.answered.load(Ordering::Relaxed) && self.certificate.is_some();
        said.unwrap_or_else(|| match unanswered {
            true => format!(
                "{error}, before it has ever answered on this connection: it may have refused our \
                 certificate; its log says so, and compare `certs show` with the registry"
            ),
            false => error.to_string(),
        })
    }
}

impl Answering {
    /// The response. Waiting for it may be interrupted and gone on with.
    pub(crate) async fn response(&mut self) -> Result<Response<ReceivedBody>, h2::Error> {
        let response = (&mut self.response).await?;
        self.connection.answered.store(true, Ordering::Relaxed);
        self.line.heard();
        let line = self.connection.line.enter();
        Ok(response.map(|stream| ReceivedBody::new(stream, line)))
    }

    /// See [`Connection::why`].
    pub(crate) async fn why(&mut self, error: &h2::Error) -> String {
        self.connection.why(error).await
    }
}

/// The HTTP/2 handshake; the connection then lives in its own task until either side closes it.
///
/// # Errors
/// When the other end speaks no HTTP/2.
pub(crate) async fn open<S>(
    stream: S,
    listening: Listening,
    crowd: Crowd,
) -> Result<Connection, h2::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (requests, mut connection) = Builder::new()
        .enable_push(false)
        .initial_max_send_streams(BEFORE_SETTINGS)
        .max_header_list_size(HEADER_LIST_LIMIT)
        .max_concurrent_reset_streams(GIVEN_UP)
        .reset_stream_duration(GIVEN_UP_FOR)
        .initial_window_size(OF_SHARED)
        .initial_connection_window_size(OF_CONNECTION)
        .handshake(stream)
        .await?;
    let line = Line::new();
    let (told, ended) = watch::channel(None);
    let left = CancellationToken::new();
    let held = Arc::new(left.clone().drop_guard());
    let dead = line.clone().until_dead(listening, connection.ping_pong());
    tokio::spawn(behind(crowd, async move {
        let mut dead = Box::pin(dead);
        let mut left = Box::pin(left.cancelled_owned());
        let mut is_left = false;
        let error = loop {
            tokio::select! {
                biased;
                ended = &mut connection => break ended.err(),
                () = &mut dead => {
                    tracing::debug!("a connection was closed: its other end is silent");
                    break None;
                }
                () = &mut left, if !is_left => is_left = true,
            }
        };
        if let Some(error) = &error {
            tracing::debug!(%error, "a connection ended");
        }
        told.send_replace(Some(error.as_ref().and_then(tls_words)));
    }));
    Ok(Connection {
        requests,
        line,
        certificate: None,
        ended,
        answered: Arc::default(),
        _held: held,
    })
}

/// What TLS says, if it was TLS that failed.
fn tls_words(error: &h2::Error) -> Option<String> {
    error.get_io().and_then(|error| describe_chain(error))
}
