//! Nothing is believed before its signature, its chain and its speaker are verified.

use std::sync::Arc;

use trust::{
    Digest, Reason, Refusal,
    exchange::ProviderExchange,
    header::Direction,
    message::{SignedMessage, UnverifiedMessage},
    replay::{check_exchange_time, check_freshness},
    wire::evidence::MessageContent,
};

use crate::{
    certificates::KnownCertificate,
    exchange::{Consumption, Provision},
    grpc::budget::Share,
    peer_frames::ReceivedEnvelope,
    server::Server,
    snapshot::Snapshot,
};

/// The proof that a message was signed by the member it speaks for, came over the right
/// connection, and belongs where it stands in its exchange.
pub(crate) struct Verified {
    pub(super) message: SignedMessage,
    pub(super) content: MessageContent,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) certificate: KnownCertificate,
    pub(super) peer_certificate: Digest,
    pub(super) share: Share,
}

/// A verified first request, with the exchange that it opens.
pub(crate) struct VerifiedOpening {
    pub(super) request: Verified,
    pub(super) exchange: ProviderExchange,
}

/// A verified later request of an open exchange.
pub(crate) struct VerifiedRequest {
    pub(super) request: Verified,
}

/// A verified reply to our own requests.
pub(crate) struct VerifiedReply {
    pub(super) reply: Verified,
}

impl Server {
    /// Verifies the first request of an exchange: also fresh, and not seen before.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub(crate) fn verify_opening(
        &self,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedOpening, Refusal> {
        let request = self.verify(envelope)?;
        let header = request.message.header();
        if header.direction != Direction::Request || header.sequence != 0 {
            return Err(Refusal::new(
                Reason::OutOfSequence,
                format!("exchange {} is not open here", header.parties.exchange),
            ));
        }
        let exchange = ProviderExchange::open(header, request.message.digest())?;
        let reference = self.reference_time()?;
        check_freshness(header.created_at, reference)?;
        check_exchange_time(&header.parties.exchange, reference)?;
        self.remember(&header.parties, reference)?;
        Ok(VerifiedOpening { request, exchange })
    }

    /// Verifies a later request of an open exchange.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub(crate) fn verify_request(
        &self,
        exchange: &Provision,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedRequest, Refusal> {
        let request = self.verify(envelope)?;
        exchange
            .lock()
            .accept_request(request.message.header(), request.message.digest())?;
        Ok(VerifiedRequest { request })
    }

    /// Verifies a reply and that it answers our requests.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub(crate) fn verify_reply(
        &self,
        exchange: &Consumption,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedReply, Refusal> {
        let reply = self.verify(envelope)?;
        exchange
            .lock()
            .accept_reply(reply.message.header(), reply.message.digest())?;
        Ok(VerifiedReply { reply })
    }

    /// What holds for every message: connection, signature, who may speak for whom.
    fn verify(&self, received: ReceivedEnvelope) -> Result<Verified, Refusal> {
        let ReceivedEnvelope {
            envelope,
            certificate,
            peer_certificate,
            share,
        } = received;
        let snapshot = self.configuration_in_force()?;
        let configuration = snapshot.configuration();
        let unverified = UnverifiedMessage::parse(envelope)?;
        // Cheap, and spares the signature check of what came over the wrong connection.
        configuration.check_connection(
            unverified.claimed_header(),
            &peer_certificate,
            self.id(),
        )?;
        let certificate = certificate.ok_or_else(|| {
            let digest = unverified.certificate_digest();
            let what = format!("the signing certificate {digest} was not sent");
            Refusal::new(Reason::UnknownCertificate, what)
        })?;
        let message = unverified.verify(&certificate.facts)?;
        configuration.check_speaker(
            message.header(),
            &certificate.facts,
            &peer_certificate,
            self.id(),
            self.clock().seconds(),
        )?;
        let content = message.content().parse()?;
        Ok(Verified {
            message,
            content,
            snapshot,
            certificate,
            peer_certificate,
            share,
        })
    }
}
