//! Sends recorded requests to the provider's security server. Sent once, never again.

use std::pin::Pin;

use http::{HeaderMap, Method, Request, header};
use proto::{
    exchange::TrustMaterial,
    refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER},
};
use trust::{
    Reason, Refusal, ServerId,
    refusal::{Fault, Side, fault_of, is_code_of, reason_of},
};

use super::{record::Recorded, sign::SignedRequest};
use crate::{
    exchange::Consumption,
    frames::envelope,
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
    state: InwardState,
    provider: ServerId,
}

enum InwardState {
    /// The provider's server has not answered yet.
    Answering(Answering),
    Frames(Box<PeerFrames>),
}

/// The response of the provider's server, under way.
type Answering = Pin<Box<dyn Future<Output = Result<PeerFrames, Interruption>> + Send>>;

impl Server {
    /// Opens the way to the provider with the recorded first request. It is sent once its answer is
    /// waited for. Requests and replies are carried apart from here on, since a provider may wait for
    /// more requests before it answers.
    ///
    /// # Errors
    /// `PeerUnreachable` when no connection was made.
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
        // The first one waits for nobody, and goes with the head of the call.
        outward
            .send(Some(exchange.signer.material()), request)
            .await?;
        let budget = self.budget().clone();
        let answering = {
            let provider = provider.clone();
            Box::pin(async move {
                let response = match connection.call(call).await {
                    Ok(response) => response,
                    Err(error) => return Err(lost(&provider, &connection.why(&error).await)),
                };
                let (mut head, body) = response.into_parts();
                if let Some(status) = Status::take(&mut head.headers) {
                    let what = format!("{provider} takes no exchange: {}", status.message);
                    return Err(Refusal::new(Reason::PeerLost, what).into());
                }
                Ok(PeerFrames::new(body, peer_certificate, &budget))
            })
        };
        let inward = Inward {
            state: InwardState::Answering(answering),
            provider: provider.clone(),
        };
        Ok((outward, inward))
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
        self.send(None, request).await
    }

    async fn send(
        &mut self,
        material: Option<&TrustMaterial>,
        request: Recorded<SignedRequest>,
    ) -> Result<(), Interruption> {
        let SignedRequest { message, share, .. } = request.message;
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let Ok(chunk) = envelope(material, &message, share) else {
            return Ok(());
        };
        if !message.header().is_final {
            let _ = writer.write(chunk).await;
        } else if writer.write_last(chunk, None).await.is_ok() {
            // Else kept unended: ending it would look like the end of the requests.
            self.writer = None;
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
        if let InwardState::Answering(answering) = &mut self.state {
            self.state = InwardState::Frames(Box::new(answering.await?));
        }
        let InwardState::Frames(frames) = &mut self.state else {
            return Err(lost(&self.provider, "it has not answered"));
        };
        match frames.next(server).await {
            Ok(envelope) => Ok(envelope),
            Err(refusal) if refusal.reason == Reason::PeerLost => {
                let trailers = frames.take_trailers();
                Err(self.said(trailers).unwrap_or_else(|| refusal.into()))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// After the final reply: lets the stream end.
    pub(crate) async fn finish(self) {
        if let InwardState::Frames(frames) = self.state {
            frames.finish().await;
        }
    }

    /// What the trailers say where a final reply should have been. Nobody signed it, so the provider
    /// can refuse in no other name than its own: that of the server at the other end.
    fn said(&self, mut trailers: HeaderMap) -> Option<Interruption> {
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
