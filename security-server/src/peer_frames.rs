//! What comes from another security server: envelopes, after the certificates that they name.

use std::time::Duration;

use http::HeaderMap;
use proto::exchange::{TrustMaterial, frame};
use tokio::time::timeout;
use trust::{Digest, Reason, Refusal, message::signing_certificate, wire::evidence::Envelope};

use crate::{
    certificates::KnownCertificate,
    frames::FrameReader,
    grpc::{
        budget::{Budget, Share},
        reader::ReadError,
    },
    http2::received::ReceivedBody,
    server::Server,
};

/// How many certificates a peer may send in one direction of an exchange.
const MATERIAL_LIMIT: usize = 4;

/// How long the end of a stream is waited for behind its final message.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The frames of one direction of an exchange.
pub(crate) struct PeerFrames {
    frames: FrameReader<ReceivedBody>,
    peer_certificate: Digest,
    /// The certificates that came in this direction.
    known: Vec<KnownCertificate>,
}

/// An envelope that nobody has looked into yet, and the connection it came over.
pub(crate) struct ReceivedEnvelope {
    pub(crate) envelope: Envelope,
    /// The signing certificate that it names, if it came ahead.
    pub(crate) certificate: Option<KnownCertificate>,
    /// Digest of the TLS certificate of the connection.
    pub(crate) peer_certificate: Digest,
    /// Memory held for it.
    pub(crate) share: Share,
}

impl PeerFrames {
    pub(crate) fn new(body: ReceivedBody, peer_certificate: Digest, budget: &Budget) -> Self {
        Self {
            frames: FrameReader::new(body, budget),
            peer_certificate,
            known: Vec::new(),
        }
    }

    /// The next envelope. Certificates that come before it are verified and remembered.
    ///
    /// # Errors
    /// `PeerLost` when the peer ends or breaks off, `MalformedEnvelope`, `InvalidCertificate`,
    /// and those of reading.
    pub(crate) async fn next(&mut self, server: &Server) -> Result<ReceivedEnvelope, Refusal> {
        loop {
            let frame = match self.frames.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(lost("ended without a final message")),
                Err(ReadError::Refused(refusal)) => return Err(refusal),
                Err(ReadError::Lost(why)) => {
                    tracing::debug!(why, "a peer broke off");
                    return Err(lost("broke off the exchange"));
                }
            };
            match frame.body {
                frame::Body::Envelope(envelope) => {
                    return Ok(ReceivedEnvelope {
                        certificate: self.named_by(&envelope),
                        envelope,
                        peer_certificate: self.peer_certificate,
                        share: frame.share,
                    });
                }
                frame::Body::TrustMaterial(material) => self.learn(server, &material)?,
                frame::Body::Want(_) => {
                    return Err(malformed(
                        "trust material is sent with every exchange and need not be asked for",
                    ));
                }
            }
        }
    }

    /// Lets the stream end after its final message, as it mostly has already: one that is dropped
    /// before is reset, and a connection that others share bears only so many resets.
    pub(crate) async fn finish(mut self) {
        if !self.frames.ends().await {
            tokio::spawn(async move {
                let _ = timeout(END_TIMEOUT, self.frames.finish()).await;
            });
        }
    }

    /// The trailers, after the end.
    pub(crate) fn take_trailers(&mut self) -> HeaderMap {
        self.frames.take_trailers().unwrap_or_default()
    }

    /// The certificate among those that came ahead which the envelope's signature names.
    fn named_by(&self, envelope: &Envelope) -> Option<KnownCertificate> {
        let digest = signing_certificate(envelope.signature.as_ref()?)?;
        self.known
            .iter()
            .find(|known| known.facts.digest == digest)
            .cloned()
    }

    fn learn(&mut self, server: &Server, material: &TrustMaterial) -> Result<(), Refusal> {
        if self.known.len() >= MATERIAL_LIMIT {
            return Err(malformed("more certificates than messages could need"));
        }
        let snapshot = server.configuration_in_force()?;
        let at = server.clock().seconds();
        self.known
            .push(server.certificates().learn(material, &snapshot, at)?);
        Ok(())
    }
}

fn lost(what: &str) -> Refusal {
    Refusal::new(
        Reason::PeerLost,
        format!("the other security server {what}"),
    )
}

fn malformed(what: &str) -> Refusal {
    Refusal::new(Reason::MalformedEnvelope, what)
}
