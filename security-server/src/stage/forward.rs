//! Sends recorded requests to the provider's security server. Sent once, never again.

use http::{Method, Request, header};
use proto::refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER};
use trust::{Reason, Refusal};

use super::{record::Recorded, sign::SignedRequest};
use crate::{
    connections::words,
    exchange::Consumption,
    frames::{write_envelope, write_trust_material},
    grpc::{
        body::{self, BodyWriter},
        metadata,
        status::Status,
    },
    interruption::Interruption,
    peer_frames::{PeerFrames, ReceivedEnvelope},
    server::Server,
};

/// The path of the one service between security servers.
pub(crate) const EXCHANGE_PATH: &str = "/lienthong.exchange.v1.SecurityServer/Exchange";

/// The requests' way to the provider.
pub(crate) struct Outward {
    writer: Option<BodyWriter>,
}

/// The replies' way back.
pub(crate) struct Inward {
    frames: PeerFrames,
}

impl Server {
    /// Opens the way to the provider with the recorded first request.
    ///
    /// # Errors
    /// `PeerUnreachable` when no connection was made, `PeerLost` when it broke.
    pub(crate) async fn forward_opening(
        &self,
        exchange: &Consumption,
        request: Recorded<SignedRequest>,
    ) -> Result<(Outward, Inward), Interruption> {
        let provider = &exchange.parties.provider;
        let mut connection = self.peers().to(provider, &exchange.address).await?;
        let peer_certificate = connection.certificate.ok_or_else(|| {
            Refusal::new(
                Reason::PeerUnreachable,
                format!("{provider} shows no certificate"),
            )
        })?;
        let (writer, body) = body::channel();
        let call = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}{EXCHANGE_PATH}", exchange.address))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(body)
            .map_err(|error| Refusal::new(Reason::PeerUnreachable, error.to_string()))?;
        let mut outward = Outward {
            writer: Some(writer),
        };
        let sending = async {
            if let Some(writer) = &outward.writer {
                // A reader that is gone is told better by the answer.
                let _ = write_trust_material(writer, exchange.signer.material()).await;
            }
            outward.forward(request).await
        };
        let lost = |error: hyper::Error| lost(provider, &error);
        let answering = async { connection.call(call).await.map_err(lost) };
        let (response, ()) = tokio::try_join!(answering, sending)?;
        let frames = PeerFrames::new(response.into_body(), peer_certificate, self.budget());
        Ok((outward, Inward { frames }))
    }
}

fn lost(provider: &trust::ServerId, error: &hyper::Error) -> Interruption {
    Refusal::new(
        Reason::PeerLost,
        format!("{provider} broke off: {}", words(error)),
    )
    .into()
}

impl Outward {
    /// Sends a recorded request; the final one ends the direction. When the provider no longer
    /// reads, its answer says why, so that is no error here.
    ///
    /// # Errors
    /// None of its own; it can be interrupted.
    pub(crate) async fn forward(
        &mut self,
        request: Recorded<SignedRequest>,
    ) -> Result<(), Interruption> {
        let SignedRequest { message, share, .. } = request.message;
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let written = write_envelope(writer, &message, share).await;
        if written.is_err() {
            // Kept unended: ending it would look like the end of the requests.
        } else if message.header().is_final
            && let Some(writer) = self.writer.take()
        {
            let _ = writer.end().await;
        }
        Ok(())
    }
}

impl Inward {
    /// The next envelope of the provider.
    ///
    /// # Errors
    /// What the provider said without a signature, or those of [`PeerFrames::next`].
    pub(crate) async fn next(&mut self, server: &Server) -> Result<ReceivedEnvelope, Interruption> {
        match self.frames.next(server).await {
            Ok(envelope) => Ok(envelope),
            Err(refusal) if refusal.reason == Reason::PeerLost => {
                Err(self.said().unwrap_or_else(|| refusal.into()))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The unsigned refusal in the trailers, where a final reply should have been.
    fn said(&mut self) -> Option<Interruption> {
        let mut trailers = self.frames.take_trailers();
        let status = Status::take(&mut trailers).filter(|status| status.code != 0)?;
        let names = [REFUSAL_TRAILER, FAULT_TRAILER, SERVER_TRAILER];
        Some(Interruption::Said(Box::new(RefusalStatus {
            code: status.code,
            message: status.message,
            details: status.details,
            trailers: names.map(|name| (name, metadata::text(&trailers, name))),
        })))
    }
}
