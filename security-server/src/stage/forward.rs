//! Sends recorded requests to the provider's security server. Sent once, never again.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, header};
use proto::{
    exchange::TrustMaterial,
    refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER},
};
use tokio_util::sync::CancellationToken;
use trust::{
    Digest, Reason, Refusal, ServerId,
    refusal::{Fault, Side, fault_of, is_code_of, reason_of},
};

use super::{record::Recorded, sign::SignedRequest};
use crate::{
    exchange::Consumption,
    frames::envelope,
    grpc::{
        budget::Budget,
        metadata,
        status::Status,
        writer::{MessageWriter, Unread},
    },
    http2::client::Answering,
    interruption::Interruption,
    peer_frames::{PeerFrames, ReceivedEnvelope},
    server::Server,
    signer::MemberSigner,
};

/// The path of the one service between security servers.
pub(crate) const EXCHANGE_PATH: &str = "/lienthong.exchange.v1.SecurityServer/Exchange";

/// The requests' way to the provider.
pub(crate) struct Outward {
    writer: MessageWriter,
    provider: ServerId,
    /// The recorded first request, and the certificate that goes ahead of it.
    opening: Option<(Arc<MemberSigner>, Recorded<SignedRequest>)>,
}

/// The replies' way back.
pub(crate) struct Inward {
    state: InwardState,
    provider: ServerId,
    peer_certificate: Digest,
    budget: Budget,
    /// Cancelled when the provider's server says that its adapter has taken the call.
    placed: CancellationToken,
}

enum InwardState {
    /// The provider's server has not answered yet.
    Answering(Box<Answering>),
    Frames(Box<PeerFrames>),
}

impl Server {
    /// Calls the provider with the recorded first request. Requests and replies are carried apart from
    /// here on, since a provider may wait for more requests before it answers.
    ///
    /// # Errors
    /// `PeerUnreachable` when no connection was made, `PeerLost` when it takes no calls any more.
    pub(crate) async fn call_provider(
        &self,
        exchange: &Consumption,
        request: Recorded<SignedRequest>,
        placed: CancellationToken,
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
        let call = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}{EXCHANGE_PATH}", exchange.address))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())
            .map_err(|error| Refusal::new(Reason::PeerUnreachable, error.to_string()))?;
        let (writer, answering) = match connection.call(call).await {
            Ok(started) => started,
            Err(error) => return Err(lost(provider, &connection.why(&error).await)),
        };
        let outward = Outward {
            writer,
            provider: provider.clone(),
            opening: Some((Arc::clone(&exchange.signer), request)),
        };
        let inward = Inward {
            state: InwardState::Answering(Box::new(answering)),
            provider: provider.clone(),
            peer_certificate,
            budget: self.budgets().from_providers.clone(),
            placed,
        };
        Ok((outward, inward))
    }
}

fn lost(provider: &ServerId, why: &str) -> Interruption {
    let what = format!("{provider} broke off: {why}");
    Refusal::new(Reason::PeerLost, what).into()
}

impl Outward {
    /// Sends the recorded first request.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub(crate) async fn forward_opening(&mut self) -> Result<(), Interruption> {
        match self.opening.take() {
            Some((signer, request)) => self.send(Some(signer.material()), request).await,
            None => Ok(()),
        }
    }

    /// Sends a recorded request; the final one ends the direction. When the provider no longer
    /// reads, its answer says why, so that is no error here.
    ///
    /// # Errors
    /// `PeerLost` when the provider reads nothing while others wait.
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
        let Ok(chunk) = envelope(material, &message, share) else {
            return Ok(());
        };
        let is_final = message.header().is_final;
        match self.writer.write_request(chunk, is_final).await {
            Ok(()) | Err(Unread::Gone) => Ok(()),
            Err(Unread::Stalled) => Err(lost(&self.provider, "it does not read the request")),
        }
    }
}

impl Inward {
    /// The next envelope of the provider.
    ///
    /// # Errors
    /// What the provider said without a signature, or those of [`PeerFrames::next`].
    pub(crate) async fn next(&mut self, server: &Server) -> Result<ReceivedEnvelope, Interruption> {
        if let InwardState::Answering(answering) = &mut self.state {
            let response = match answering.response().await {
                Ok(response) => response,
                Err(error) => return Err(lost(&self.provider, &answering.why(&error).await)),
            };
            self.placed.cancel();
            let (mut head, body) = response.into_parts();
            if let Some(status) = Status::take(&mut head.headers) {
                let what = format!("{} takes no exchange: {}", self.provider, status.message);
                return Err(Refusal::new(Reason::PeerLost, what).into());
            }
            let frames = PeerFrames::new(body, self.peer_certificate, &self.budget);
            self.state = InwardState::Frames(Box::new(frames));
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
