//! Sends recorded requests to the provider's security server. Sent once, never again.

use http::{Method, Request, header};
use hyper::body::Incoming;
use proto::refusal::RefusalStatus;
use trust::{Digest, Reason, Refusal};

use super::{record::Recorded, sign::SignedRequest};
use crate::{
    connections::words,
    exchange::Consumption,
    frames::{FrameReader, ReceivedFrame, write_envelope, write_trust_material},
    grpc::{
        body::{self, BodyWriter},
        metadata,
        reader::ReadError,
        status::Status,
    },
    interruption::Interruption,
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
    frames: FrameReader<Incoming>,
    /// The TLS certificate of the connection.
    pub(crate) peer_certificate: Digest,
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
            outward.forward(request).await;
            Ok(())
        };
        let lost = |error: hyper::Error| lost(provider, &error);
        let answering = async { connection.call(call).await.map_err(lost) };
        let (response, ()) = tokio::try_join!(answering, sending)?;
        let frames = FrameReader::new(response.into_body(), self.budget());
        Ok((
            outward,
            Inward {
                frames,
                peer_certificate,
            },
        ))
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
    /// reads, its answer says why, so nothing is reported here.
    pub(crate) async fn forward(&mut self, request: Recorded<SignedRequest>) {
        let SignedRequest { message, share, .. } = request.message;
        let Some(writer) = &self.writer else { return };
        let written = write_envelope(writer, &message, share).await;
        if written.is_err() {
            // Kept unended: ending it would look like the end of the requests.
        } else if message.header().is_final
            && let Some(writer) = self.writer.take()
        {
            let _ = writer.end().await;
        }
    }
}

impl Inward {
    /// The next frame of the provider.
    ///
    /// # Errors
    /// What the provider said without a signature, or `PeerLost`.
    pub(crate) async fn next(&mut self) -> Result<ReceivedFrame, Interruption> {
        match self.frames.next().await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(self.said()),
            Err(ReadError::Refused(refusal)) => Err(refusal.into()),
            Err(ReadError::Lost(why)) => {
                Err(Refusal::new(Reason::PeerLost, format!("the provider broke off: {why}")).into())
            }
        }
    }

    /// The unsigned refusal in the trailers, where a final reply should have been.
    fn said(&mut self) -> Interruption {
        let mut trailers = self.frames.take_trailers().unwrap_or_default();
        let status = Status::take(&mut trailers).filter(|status| status.code != 0);
        let trailer = |name| metadata::text(&trailers, name);
        match status {
            Some(status) => Interruption::Said(Box::new(RefusalStatus {
                code: status.code,
                message: status.message,
                details: status.details,
                trailers: [
                    proto::refusal::REFUSAL_TRAILER,
                    proto::refusal::FAULT_TRAILER,
                    proto::refusal::SERVER_TRAILER,
                ]
                .map(|name| (name, trailer(name))),
            })),
            None => {
                Refusal::new(Reason::PeerLost, "the provider ended without a final reply").into()
            }
        }
    }
}
