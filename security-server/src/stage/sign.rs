//! The member answers for what is sent: requests of its clients, replies of its services.

use std::sync::Arc;

use bytes::Bytes;
use trust::{
    Content, Digest, Reason, Refusal, ServerId,
    content::SALT_LENGTH,
    header::{Direction, Header, Statements},
    message::{SignedMessage, UnsignedMessage},
    promise::Promise,
    refusal::{Side, Statement},
    wire::evidence::MessageContent,
};

use crate::{
    call::Part,
    certificates::KnownCertificate,
    exchange::{Consumption, Provision},
    gathering::Gather,
    grpc::budget::Share,
    random,
    server::Server,
    signer::MemberSigner,
    snapshot::Snapshot,
};

/// The proof that a request was signed by the client's member and follows from the one before it.
pub(crate) struct SignedRequest {
    pub(super) message: SignedMessage,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) certificate: KnownCertificate,
    pub(super) share: Option<Share>,
}

/// The proof that a reply was signed by the service's member, under a right that still holds.
pub(crate) struct SignedReply {
    pub(super) message: SignedMessage,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) certificate: KnownCertificate,
    pub(super) share: Option<Share>,
}

impl Server {
    /// Signs one part of a request.
    ///
    /// # Errors
    /// `NoConfiguration`, or `NoSigningKey` when the key cannot be used.
    pub(crate) async fn sign_request(
        &self,
        exchange: &Consumption,
        part: Part,
    ) -> Result<SignedRequest, Refusal> {
        let snapshot = self.configuration_in_force()?;
        self.check_still_open(exchange, &snapshot)?;
        let certificate = self.own_certificate(&exchange.signer, &snapshot)?;
        let is_final = part.is_final;
        let (content, share) = part.into_content(random::bytes());
        let (sequence, previous) = {
            let state = exchange.lock();
            let newest = state.requests().newest();
            (state.requests().next_sequence(), newest)
        };
        let header = Header {
            parties: exchange.parties.clone(),
            direction: Direction::Request,
            sequence,
            is_final,
            refusal_code: None,
            configuration_serial: snapshot.configuration().serial(),
            created_at: self.clock().seconds(),
            deadline_milliseconds: exchange.milliseconds_left(),
            statements: match sequence {
                0 => exchange.statements.clone(),
                _ => Statements::default(),
            },
            previous: previous.map(|(_, digest)| digest),
            answers: None,
            status_code: None,
            promise: None,
            content_digest: content.digest(),
        };
        let receiver = &exchange.parties.provider;
        let message = self
            .sign(header, content, &exchange.signer, receiver)
            .await?;
        let signature = Digest::of(message.signature_value());
        exchange
            .lock()
            .sign_off(message.header(), message.digest(), signature)?;
        Ok(SignedRequest {
            message,
            snapshot,
            certificate,
            share,
        })
    }

    /// Asks again, for each message in either direction, whether the client still is who it was,
    /// enabled and registered here, and the other end of the connection still the provider.
    ///
    /// # Errors
    /// `NotIdentified`, `SubsystemDisabled`, `UnknownClient`, `UnknownService` or `PeerLost`.
    pub(crate) fn check_still_open(
        &self,
        exchange: &Consumption,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(), Refusal> {
        let parties = &exchange.parties;
        self.check_identity(&exchange.identity, &parties.client)?;
        self.check_enabled(&parties.client)?;
        self.check_registered(snapshot, &parties.client)?;
        let hosts = snapshot.configuration().hosts_of(&parties.service);
        if !hosts.contains(&parties.provider) {
            let what = format!(
                "{} is no longer registered at {}",
                parties.service, parties.provider
            );
            return Err(Refusal::new(Reason::UnknownService, what));
        }
        let connected = exchange.peer_certificate.get();
        let server = connected.map(|digest| snapshot.configuration().server_of(digest));
        if server.is_some_and(|server| server != Some(&parties.provider)) {
            return Err(Refusal::new(
                Reason::PeerLost,
                format!(
                    "the connection's certificate is no longer that of {}",
                    parties.provider
                ),
            ));
        }
        Ok(())
    }

    /// Signs one part of a reply, if the right that allowed the call still holds.
    ///
    /// # Errors
    /// A refusal of the access decision, `NoConfiguration`, or `NoSigningKey`.
    pub(crate) async fn sign_reply(
        &self,
        exchange: &Provision,
        part: Part,
    ) -> Result<SignedReply, Refusal> {
        let snapshot = self.still_allowed(exchange)?;
        let status_code = part.ending.as_ref().map(|(status, _)| status.code);
        let (content, share) = part.into_content(random::bytes());
        self.sign_reply_content(exchange, snapshot, content, share, status_code, None)
            .await
    }

    /// Signs a refusal as the final reply of an exchange. It never carries a message.
    ///
    /// # Errors
    /// When there is no configuration or key to sign with, or the final reply was signed already.
    pub(crate) async fn sign_refusal(
        &self,
        exchange: &Provision,
        refusal: &Refusal,
    ) -> Result<SignedReply, Refusal> {
        let statement = refusal.clone().said_by(Side::Provider, self.id().clone());
        let snapshot = self.configuration_in_force()?;
        let content = refusal_content(&statement, random::bytes());
        let status = Some(refusal.reason.status());
        self.sign_reply_content(
            exchange,
            snapshot,
            content,
            None,
            status,
            Some(statement.code()),
        )
        .await
    }

    async fn sign_reply_content(
        &self,
        exchange: &Provision,
        snapshot: Arc<Snapshot>,
        content: Content,
        share: Option<Share>,
        status_code: Option<u32>,
        refusal_code: Option<String>,
    ) -> Result<SignedReply, Refusal> {
        let certificate = self.own_certificate(&exchange.signer, &snapshot)?;
        let header = {
            let state = exchange.lock();
            Header {
                parties: exchange.parties.clone(),
                direction: Direction::Reply,
                sequence: state.replies().next_sequence(),
                is_final: status_code.is_some(),
                refusal_code,
                configuration_serial: snapshot.configuration().serial(),
                created_at: self.clock().seconds(),
                deadline_milliseconds: None,
                statements: Statements::default(),
                previous: state.replies().newest().map(|(_, digest)| digest),
                answers: Some(state.answers()),
                status_code,
                promise: state.promise().map(Promise::to_wire),
                content_digest: content.digest(),
            }
        };
        let receiver = &exchange.parties.consumer;
        let message = self
            .sign(header, content, &exchange.signer, receiver)
            .await?;
        exchange
            .lock()
            .sign_off(message.header(), message.digest())?;
        Ok(SignedReply {
            message,
            snapshot,
            certificate,
            share,
        })
    }

    /// Signs a message for its receiver: alone, or in a batch when it has to wait for the log anyway.
    async fn sign(
        &self,
        header: Header,
        content: Content,
        signer: &Arc<MemberSigner>,
        receiver: &ServerId,
    ) -> Result<SignedMessage, Refusal> {
        let message = UnsignedMessage::new(header, content);
        let gather = match self.recorder().log().writing() {
            Some(written) => Gather::UntilWritten(written),
            None if self.exchanges().count() > 1 => Gather::Ready,
            None => Gather::Nobody,
        };
        let made = self
            .gatherings()
            .sign(message.to_sign(), signer.as_ref(), receiver, gather)
            .await;
        made.and_then(|made| message.signed(made)).map_err(|error| {
            tracing::error!(%error, "signing failed");
            Refusal::new(
                Reason::NoSigningKey,
                "this server's signing key cannot be used",
            )
        })
    }
}

/// The content of a signed refusal: status message and details, for the caller to read.
fn refusal_content(statement: &Statement, salt: [u8; SALT_LENGTH]) -> Content {
    let status = proto::refusal::RefusalStatus::from(statement);
    Content::encode(&MessageContent {
        salt: Bytes::copy_from_slice(&salt),
        status_message: status.message,
        status_details: status.details,
        ..MessageContent::default()
    })
}
