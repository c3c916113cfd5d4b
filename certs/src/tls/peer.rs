//! Between security servers: mutual TLS, each side's certificate asked of the registry at every
//! handshake.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    time_provider::{DefaultTimeProvider, TimeProvider},
    version::TLS13,
};
use trust::{Digest, ServerId};

use super::{HTTP2, HandshakeSignatures, ReplaceableIdentity, provider};
use crate::{
    chain::{TrustedAuthority, vouch_authentication},
    error::{CertificateError, Fault},
};

/// What the registry says about security servers, as of the newest configuration.
///
/// Both are asked at every handshake, so an answer must be quick and always the newest.
pub trait RegisteredServers: Send + Sync {
    /// The server for which a certificate is registered.
    fn server_of(&self, certificate: &Digest) -> Option<ServerId>;

    /// The authorities approved for authentication certificates.
    fn authorities(&self) -> Arc<[TrustedAuthority]>;
}

/// The configurations for connections between security servers.
#[derive(Clone)]
pub struct PeerTls {
    identity: Arc<ReplaceableIdentity>,
    registered: Arc<dyn RegisteredServers>,
    clock: Arc<dyn TimeProvider>,
}

impl PeerTls {
    /// For the server that shows `identity` and believes `registered`.
    #[must_use]
    pub fn new(identity: Arc<ReplaceableIdentity>, registered: Arc<dyn RegisteredServers>) -> Self {
        Self {
            identity,
            registered,
            clock: Arc::new(DefaultTimeProvider),
        }
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn TimeProvider>) -> Self {
        Self { clock, ..self }
    }

    /// The side that listens: any registered server may connect, nobody else.
    ///
    /// # Errors
    /// When the provider lacks what TLS 1.3 needs.
    pub fn listener(&self) -> Result<Arc<ServerConfig>, Error> {
        let provider = provider();
        let verifier = PeerVerifier::new(&self.registered, None, &provider);
        let mut config = ServerConfig::builder_with_details(provider, self.clock.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(self.identity.clone());
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Arc::new(config))
    }

    /// The side that connects, expecting exactly `server` at the other end. The name given to
    /// rustls plays no part; use [`peer_name`].
    ///
    /// # Errors
    /// When the provider lacks what TLS 1.3 needs.
    pub fn connector(&self, server: &ServerId) -> Result<Arc<ClientConfig>, Error> {
        let provider = provider();
        let verifier = PeerVerifier::new(&self.registered, Some(server.clone()), &provider);
        let mut config = ClientConfig::builder_with_details(provider, self.clock.clone())
            .with_protocol_versions(&[&TLS13])?
            .dangerous() // the word of rustls for a verifier of one's own
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(self.identity.clone());
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        config.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PeerTls")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// What to give rustls as the name of a peer: it is neither sent nor compared, since a peer is
/// found by the digest of its certificate.
#[must_use]
pub fn peer_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0, 0, 0, 0])))
}

/// Accepts the certificates of registered servers, or of the expected one only.
struct PeerVerifier {
    registered: Arc<dyn RegisteredServers>,
    expected: Option<ServerId>,
    signatures: HandshakeSignatures,
}

impl PeerVerifier {
    fn new(
        registered: &Arc<dyn RegisteredServers>,
        expected: Option<ServerId>,
        provider: &rustls::crypto::CryptoProvider,
    ) -> Self {
        Self {
            registered: registered.clone(),
            expected,
            signatures: HandshakeSignatures::of(provider),
        }
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), CertificateError> {
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let authorities = self.registered.authorities();
        let vouched = vouch_authentication(end_entity, intermediates, &authorities, at)?;
        let certificate = vouched.certificate();
        let refused = |fault| Err(certificate.certificate().refused(fault));

        let Some(registered) = self.registered.server_of(&certificate.digest()) else {
            return refused(Fault::NotRegistered(certificate.digest()));
        };
        if registered != *certificate.server() {
            return refused(Fault::WrongRegistration {
                named: certificate.server().clone(),
                registered,
            });
        }
        match &self.expected {
            Some(expected) if *expected != registered => refused(Fault::WrongServer {
                expected: expected.clone(),
                found: registered,
            }),
            _ => Ok(()),
        }
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ClientCertVerified::assertion())
            .map_err(refusal)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        HandshakeSignatures::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(refusal)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        HandshakeSignatures::refuse_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes()
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PeerVerifier")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

/// Our own error inside the one of rustls, where `describe` finds it again.
pub(super) fn refusal(error: CertificateError) -> Error {
    Error::InvalidCertificate(rustls::CertificateError::Other(OtherError(Arc::new(error))))
}
