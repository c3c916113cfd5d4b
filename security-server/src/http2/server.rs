//! An incoming connection: its calls are answered each in a task of its own.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    Reason,
    server::{Builder, SendResponse},
};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    line::{HEADER_LIST_LIMIT, Line, Listening, OF_CONNECTION},
    received::ReceivedBody,
};
use crate::grpc::writer::{MessageWriter, ReaderGone};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A connection is closed, with all its calls, when so many times as many calls as it may have at once
/// were given up before they were even looked at: callers who go away together, or a slow way, are no
/// attack yet.
const GIVEN_UP: usize = 4;

/// The answer to one call, which is still to be given. Dropped, it tells that something broke.
pub(crate) struct Responder {
    response: SendResponse<Bytes>,
    is_given: bool,
}

impl Responder {
    /// Gives the head of an answer; its body is then written.
    pub(crate) fn begin(mut self, head: Response<()>) -> Result<MessageWriter, ReaderGone> {
        self.is_given = true;
        let stream = self.response.send_response(head, false);
        stream.map(MessageWriter::of_answer).map_err(|_| ReaderGone)
    }

    /// Gives an answer that is nothing but its head.
    pub(crate) fn answer(mut self, head: Response<()>) -> Result<(), ReaderGone> {
        self.is_given = true;
        let stream = self.response.send_response(head, true);
        stream.map(drop).map_err(|_| ReaderGone)
    }

    /// Waits until nobody waits for the answer any more.
    pub(crate) async fn reader_gone(&mut self) {
        let _ = std::future::poll_fn(|context| self.response.poll_reset(context)).await;
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if !self.is_given {
            self.response.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Serves a connection until it ends; once `closing` is cancelled, until its calls are answered.
///
/// # Errors
/// In words, when it breaks.
pub(crate) async fn serve<S, F>(
    stream: S,
    window: u32,
    calls: u32,
    closing: CancellationToken,
    answer: impl Fn(Request<ReceivedBody>, Responder) -> F,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = ()> + Send + 'static,
{
    let mut builder = Builder::new();
    let handshake = builder
        .max_header_list_size(HEADER_LIST_LIMIT)
        .max_concurrent_streams(calls)
        .max_pending_accept_reset_streams(GIVEN_UP * calls as usize)
        .initial_window_size(window)
        .initial_connection_window_size(OF_CONNECTION)
        .handshake::<_, Bytes>(stream);
    let handshake = tokio::select! {
        handshake = timeout(HANDSHAKE_TIMEOUT, handshake) => handshake,
        () = closing.cancelled() => return Ok(()),
    };
    let mut connection = handshake
        .map_err(|_| "it did not begin HTTP/2 in time".to_owned())?
        .map_err(|error| error.to_string())?;
    let line = Line::new();
    let pings = connection.ping_pong();
    let listening = Listening::Always(KEEP_ALIVE);
    let mut dead = Box::pin(line.clone().until_dead(listening, pings));
    let mut closed = Box::pin(closing.cancelled_owned());
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, response) = accepted.map_err(|error| error.to_string())?;
                let request = request.map(|stream| ReceivedBody::new(stream, line.enter()));
                let responder = Responder { response, is_given: false };
                // Boxed, since a task is moved several times before it runs.
                tokio::spawn(Box::pin(answer(request, responder)));
            }
            () = &mut dead => return Err("its other end is silent".to_owned()),
            () = &mut closed, if !is_closing => {
                is_closing = true;
                connection.graceful_shutdown();
            }
        }
    }
}
