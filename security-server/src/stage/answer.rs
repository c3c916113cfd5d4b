//! Sends recorded replies to the consumer's security server.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tokio::time::timeout;
use trust::{Reason, Refusal};

use super::{record::Recorded, sign::SignedReply};
use crate::{
    exchange::Provision,
    frames::{write_envelope, write_trust_material},
    grpc::{body::BodyWriter, status::STATUS},
    interruption::Interruption,
};

/// How long the final reply of a refused exchange waits for its reader.
const LAST_TIMEOUT: Duration = Duration::from_secs(30);

/// The replies' way to the consumer.
pub(crate) struct Answers {
    writer: BodyWriter,
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
            writer,
            introduced: false,
            sending: false,
            trailers,
        }
    }

    /// Waits for somebody else, unless the consumer no longer reads.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) async fn unless_gone<T, E: From<Refusal>>(
        &self,
        wait: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            outcome = wait => outcome,
            () = self.writer.reader_gone() => {
                Err(Refusal::new(Reason::Cancelled, "the consumer gave up the exchange").into())
            }
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

    /// Sends one recorded reply, the signing certificate before the first.
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
        if !self.introduced {
            self.introduced = true;
            let material = exchange.signer.material();
            write_trust_material(&self.writer, material)
                .await
                .map_err(gone)?;
        }
        let SignedReply { message, share, .. } = reply.message;
        write_envelope(&self.writer, &message, share)
            .await
            .map_err(gone)?;
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
        let _ = self.writer.trailers(self.trailers).await;
    }
}
