//! Sends recorded requests to the provider's security server. Sent once, never again.

use http::{Method, Request, header};
use proto::refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER};
use trust::{
    Reason, Refusal, ServerId,
    refusal::{Fault, Side, fault_of, is_code_of, reason_of},
};

use super::{record::Recorded, sign::SignedRequest};
use crate::{
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
    provider: ServerId,
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
        // Set once: an exchange has one connection.
        let _ = exchange.peer_certificate.set(peer_certificate);
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
        let answering = async {
            match connection.call(call).await {
                Ok(response) => Ok(response),
                Err(error) => Err(lost(provider, &connection.why(&error).await)),
            }
        };
        let (response, ()) = tokio::try_join!(answering, sending)?;
        let (mut head, body) = response.into_parts();
        if let Some(status) = Status::take(&mut head.headers) {
            let what = format!("{provider} takes no exchange: {}", status.message);
            return Err(Refusal::new(Reason::PeerLost, what).into());
        }
        let frames = PeerFrames::new(body, peer_certificate, self.budget());
        let provider = provider.clone();
        Ok((outward, Inward { frames, provider }))
    }
}

fn lost(provider: &ServerId, why: &str) -> Interruption {
    let what = format!("{provider} broke off: {why}");
    Refusal::new(Reason::PeerLost, what).into()
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

    /// What the trailers say where a final reply should have been. Nobody signed it, so the provider
    /// can refuse in no other name than its own: that of the server at the other end.
    fn said(&mut self) -> Option<Interruption> {
        let mut trailers = self.frames.take_trailers();
        let status = Status::take(&mut trailers).filter(|status| status.code != 0)?;
        let refusal = metadata::text(&trailers, REFUSAL_TRAILER);
        if refusal.is_empty() {
            let (code, message) = (status.code, status.message);
            let what = format!("the provider ended with gRPC status {code} ({message})");
            return Some(Refusal::new(Reason::PeerLost, what).into());
        }
        if !is_code_of(&refusal, Side::Provider) {
            let what = format!("the provider refused with a code that is not its own: {refusal:?}");
            return Some(Refusal::new(Reason::MalformedEnvelope, what).into());
        }
        let fault = fault_of(&refusal, Side::Provider).map_or("", Fault::name);
        let server = self.provider.to_string();
        Some(Interruption::Said(Box::new(RefusalStatus {
            code: reason_of(&refusal, Side::Provider).map_or(status.code, Reason::status),
            message: status.message,
            details: status.details,
            trailers: [
                (REFUSAL_TRAILER, refusal),
                (FAULT_TRAILER, fault.to_owned()),
                (SERVER_TRAILER, server),
            ],
        })))
    }
}
