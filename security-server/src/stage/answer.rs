//! Sends recorded replies to the consumer's security server.

use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use tokio::time::timeout;
use trust::{Reason, Refusal};

use super::{record::Recorded, sign::SignedReply};
use crate::{
    exchange::Provision,
    frames::envelope,
    grpc::{
        body::{BodyWriter, ReaderGone},
        status::STATUS,
    },
    interruption::Interruption,
    until::until,
};

/// How long the final reply of a refused exchange waits for its reader.
const LAST_TIMEOUT: Duration = Duration::from_secs(30);

/// The replies' way to the consumer.
pub(crate) struct Answers {
    /// None once the final reply was sent.
    writer: Option<BodyWriter>,
    introduced: bool,
    /// A reply was signed and is not sent yet. When that is interrupted no other may follow it.
    sending: bool,
    trailers: HeaderMap,
}

impl Answers {
    pub(crate) fn new(writer: BodyWriter) -> Self {
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        Self {
            writer: Some(writer),
            introduced: false,
            sending: false,
            trailers,
        }
    }

    /// Waits for somebody else, unless the consumer no longer reads.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) fn unless_gone<T, E: From<Refusal>>(
        &self,
        wait: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        let gone = async {
            match &self.writer {
                Some(writer) => writer.reader_gone().await,
                None => std::future::pending().await,
            }
        };
        until(wait, gone, false).map(|outcome| {
            outcome.unwrap_or_else(|()| {
                let what = "the consumer gave up the exchange";
                Err(Refusal::new(Reason::Cancelled, what).into())
            })
        })
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
    /// When the consumer no longer reads.
    pub(crate) async fn send(
        &mut self,
        exchange: &Provision,
        reply: Recorded<SignedReply>,
    ) -> Result<(), Interruption> {
        let gone = |_| Interruption::cancelled();
        self.sending = true;
        let SignedReply { message, share, .. } = reply.message;
        let material = (!self.introduced).then(|| exchange.signer.material());
        self.introduced = true;
        let chunk = envelope(material, &message, share).map_err(gone)?;
        let writer = self.writer.as_ref().ok_or(ReaderGone).map_err(gone)?;
        if message.header().is_final {
            let trailers = Some(self.trailers.clone());
            writer.write_last(chunk, trailers).await.map_err(gone)?;
            self.writer = None;
        } else {
            writer.write(chunk).await.map_err(gone)?;
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

    /// Ends the stream.
    pub(crate) async fn end(self) {
        if let Some(writer) = self.writer {
            let _ = writer.trailers(self.trailers).await;
        }
    }
}
