//! Nothing is believed before its signature, its chain and its speaker are verified.

use std::sync::Arc;

use trust::{
    Digest, Reason, Refusal,
    exchange::ProviderExchange,
    header::Direction,
    message::{SignedMessage, UnverifiedMessage},
    promise::Promise,
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

/// A message that one configuration has accepted.
struct Decided {
    message: SignedMessage,
    snapshot: Arc<Snapshot>,
    certificate: KnownCertificate,
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
    pub(crate) async fn verify_opening(
        &self,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedOpening, Refusal> {
        let request = self.verify(envelope).await?;
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
        self.recorder().remember(&header.parties, reference)?;
        Ok(VerifiedOpening { request, exchange })
    }

    /// Verifies a later request of an open exchange.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub(crate) async fn verify_request(
        &self,
        exchange: &Provision,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedRequest, Refusal> {
        let request = self.verify(envelope).await?;
        exchange
            .lock()
            .accept_request(request.message.header(), request.message.digest())?;
        Ok(VerifiedRequest { request })
    }

    /// Verifies a reply, that it answers our requests, and that it promises to keep them.
    ///
    /// # Errors
    /// The rule that does not hold.
    pub(crate) async fn verify_reply(
        &self,
        exchange: &Consumption,
        envelope: ReceivedEnvelope,
    ) -> Result<VerifiedReply, Refusal> {
        let reply = self.verify(envelope).await?;
        self.check_still_open(exchange, &reply.snapshot)?;
        let header = reply.message.header();
        exchange
            .lock()
            .accept_reply(header, reply.message.digest())?;
        Promise::must_be_given(header)?;
        if let Some(code) = &header.refusal_code {
            // Set once: a refusal is final.
            let _ = exchange.refused.set(code.clone());
        }
        Ok(VerifiedReply { reply })
    }

    /// What holds for every message, by our newest configuration. When that refuses and the sender
    /// says that it has a newer one, we look for it and decide again; its word alone decides nothing.
    async fn verify(&self, received: ReceivedEnvelope) -> Result<Verified, Refusal> {
        let snapshot = self.configuration_in_force()?;
        let message = UnverifiedMessage::parse(received.envelope)?;
        let certificate = received.certificate.as_ref();
        let claimed = message.claimed_header().configuration_serial;
        let serial = snapshot.configuration().serial();
        let again = (claimed > serial).then(|| message.clone());
        let peer = received.peer_certificate;
        let mut decided = self.verify_by(snapshot, message, certificate, &peer);
        if let (Err(_), Some(message)) = (&decided, again) {
            Box::pin(self.newest().fetch(self.clock())).await;
            let newer = self.configuration_in_force()?;
            // Also when somebody else's look has brought it meanwhile.
            if newer.configuration().serial() > serial {
                decided = self.verify_by(newer, message, certificate, &peer);
            }
        }
        let Decided {
            message,
            snapshot,
            certificate,
        } = decided?;
        let content = message.content().parse()?;
        let share = received.share;
        Ok(Verified {
            message,
            content,
            snapshot,
            certificate,
            peer_certificate: peer,
            share,
        })
    }

    /// Connection, signature, who may speak for whom.
    fn verify_by(
        &self,
        snapshot: Arc<Snapshot>,
        unverified: UnverifiedMessage,
        certificate: Option<&KnownCertificate>,
        peer_certificate: &Digest,
    ) -> Result<Decided, Refusal> {
        let configuration = snapshot.configuration();
        // Cheap, and spares the signature check of what came over the wrong connection.
        configuration.check_connection(unverified.claimed_header(), peer_certificate, self.id())?;
        let certificate = certificate.ok_or_else(|| {
            let digest = unverified.certificate_digest();
            let what = format!("the signing certificate {digest} was not sent");
            Refusal::new(Reason::UnknownCertificate, what)
        })?;
        let message = unverified.verify(&certificate.facts, self.verified_batches())?;
        configuration.check_speaker(
            message.header(),
            &certificate.facts,
            peer_certificate,
            self.id(),
            self.clock().seconds(),
        )?;
        Ok(Decided {
            message,
            snapshot,
            certificate: certificate.clone(),
        })
    }
}
