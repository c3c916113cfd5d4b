//! Sends recorded replies to the consumer's security server.

use http::HeaderMap;

use super::{record::Recorded, sign::SignedReply};
use crate::{
    exchange::Provision,
    frames::{write_envelope, write_trust_material},
    grpc::body::BodyWriter,
    interruption::Interruption,
};

/// The replies' way to the consumer.
pub(crate) struct Answers {
    writer: BodyWriter,
    introduced: bool,
}

impl Answers {
    pub(crate) const fn new(writer: BodyWriter) -> Self {
        Self {
            writer,
            introduced: false,
        }
    }

    /// Waits until the consumer no longer reads.
    pub(crate) async fn reader_gone(&self) {
        self.writer.reader_gone().await;
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
            .map_err(gone)
    }

    /// Ends the stream after the final reply.
    pub(crate) async fn end(self) {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let _ = self.writer.trailers(trailers).await;
    }

    /// Ends the stream with a refusal that is not signed.
    pub(crate) async fn refuse(self, trailers: HeaderMap) {
        let _ = self.writer.trailers(trailers).await;
    }
}
