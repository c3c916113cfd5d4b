//! Sends recorded replies to the consumer's security server.

use std::{mem, time::Duration};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Response, header};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trust::{Reason, Refusal};

use super::{record::Recorded, sign::SignedReply};
use crate::{
    exchange::Provision,
    frames::envelope,
    grpc::{
        status::STATUS,
        writer::{MessageWriter, ReaderGone},
    },
    http2::server::Responder,
    interruption::Interruption,
    until::until,
};

/// How long the final reply of a refused exchange waits for its reader.
const LAST_TIMEOUT: Duration = Duration::from_secs(30);

/// The replies' way to the consumer.
pub(crate) struct Answers {
    state: State,
    introduced: bool,
    /// A reply was signed and is not sent yet. When that is interrupted no other may follow it.
    sending: bool,
    trailers: HeaderMap,
    /// Cancelled when the exchange has its place at the adapter.
    placed: CancellationToken,
}

enum State {
    Unanswered(Responder),
    Answering(MessageWriter),
    Gone,
}

impl Answers {
    pub(crate) fn new(responder: Responder, placed: CancellationToken) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        Self {
            state: State::Unanswered(responder),
            introduced: false,
            sending: false,
            trailers,
            placed,
        }
    }

    /// Waits for somebody else, unless the consumer no longer reads.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) fn unless_gone<T, E: From<Refusal>>(
        &mut self,
        wait: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        self.until_gone(wait, false)
    }

    /// The same, and nothing is even begun for a consumer that is gone already.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) fn unless_gone_already<T, E: From<Refusal>>(
        &mut self,
        wait: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        self.until_gone(wait, true)
    }

    fn until_gone<T, E: From<Refusal>>(
        &mut self,
        wait: impl Future<Output = Result<T, E>>,
        may_be_gone: bool,
    ) -> impl Future<Output = Result<T, E>> {
        let gone = async {
            match &mut self.state {
                State::Unanswered(responder) => responder.reader_gone().await,
                State::Answering(writer) => writer.reader_gone().await,
                State::Gone => {}
            }
        };
        until(wait, gone, may_be_gone).map(|outcome| {
            outcome.unwrap_or_else(|()| {
                let what = "the consumer gave up the exchange";
                Err(Refusal::new(Reason::Cancelled, what).into())
            })
        })
    }

    /// The adapter has taken the call. If more requests are to come, the consumer's server is told by the head of the answer: it keeps
    /// room for exchanges that go on apart from room for those that wait.
    pub(crate) fn tell_of_places(&mut self, is_whole: bool) {
        self.placed.cancel();
        if !is_whole {
            // A consumer that is gone is noticed by whoever waits next.
            let _ = self.begin();
        }
    }

    /// A reply was signed: it is sent, or it is the last.
    pub(crate) const fn promise_to_send(&mut self) {
        self.sending = true;
    }

    /// Sends the recorded reply that ends the exchange, unless the consumer does not read it: one
    /// that is gone, or reads nothing, is not told.
    pub(crate) async fn send_last(&mut self, exchange: &Provision, reply: Recorded<SignedReply>) {
        let _ = timeout(LAST_TIMEOUT, self.send(exchange, reply)).await;
    }

    /// Sends one recorded reply, the signing certificate before the first; the final one ends the
    /// stream.
    ///
    /// # Errors
    /// When the consumer no longer reads, or reads nothing while others wait.
    pub(crate) async fn send(
        &mut self,
        exchange: &Provision,
        reply: Recorded<SignedReply>,
    ) -> Result<(), Interruption> {
        let gone = |_: ReaderGone| Interruption::cancelled();
        self.sending = true;
        let SignedReply { message, share, .. } = reply.message;
        let material = (!self.introduced).then(|| exchange.signer.material());
        self.introduced = true;
        let chunk = envelope(material, &message, share).map_err(gone)?;
        let (writer, trailers) = self.begin().map_err(gone)?;
        if message.header().is_final {
            let trailers = Some(trailers.clone());
            writer.write_last(chunk, trailers).await?;
        } else {
            writer.write(chunk).await?;
        }
        self.sending = false;
        Ok(())
    }

    /// Whether another reply may follow: every recorded one was sent.
    pub(crate) const fn can_follow(&self) -> bool {
        !self.sending
    }

    /// Ends the stream, when it ends, with a refusal that is not signed.
    pub(crate) fn end_with(&mut self, refusal: HeaderMap) {
        self.trailers = refusal;
    }

    /// Ends the stream, and lets the consumer read it to its end.
    pub(crate) async fn end(mut self) {
        let trailers = mem::take(&mut self.trailers);
        if self.begin().is_ok()
            && let State::Answering(writer) = self.state
        {
            let _ = writer.end(trailers).await;
        }
    }

    /// The body, whose head is given before the first frame, and the trailers that end it.
    fn begin(&mut self) -> Result<(&mut MessageWriter, &mut HeaderMap), ReaderGone> {
        if let State::Unanswered(_) = self.state
            && let State::Unanswered(responder) = mem::replace(&mut self.state, State::Gone)
        {
            let mut head = Response::new(());
            let content_type = HeaderValue::from_static("application/grpc");
            head.headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            self.state = State::Answering(responder.begin(head)?);
        }
        match &mut self.state {
            State::Answering(writer) => Ok((writer, &mut self.trailers)),
            State::Unanswered(_) | State::Gone => Err(ReaderGone),
        }
    }
}
