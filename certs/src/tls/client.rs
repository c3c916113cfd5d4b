//! On a server's own premises: the listener that clients call, the connector to adapters, and their listener.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{Resumption, WebPkiServerVerifier, danger::HandshakeSignatureValid},
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};

use super::{HTTP2, HandshakeSignatures, ReplaceableIdentity, peer::refusal, provider};
use crate::{
    certificate::Certificate,
    chain::TrustedAuthority,
    error::{Fault, FileError, FileProblem},
    file,
};

/// The listener for clients. A client may show a certificate, of whatever issuer, and then proves
/// that it has the key.
///
/// That proof is all the handshake says. Which subsystem a certificate speaks for, if any, is
/// decided for each call by its digest among the registered clients, and there the caller asks
/// [`Certificate::valid_at`] too, so that the client is told in words rather than by an alert.
///
/// # Errors
/// When the provider lacks what TLS 1.3 needs.
pub fn client_listener(identity: Arc<ReplaceableIdentity>) -> Result<Arc<ServerConfig>, Error> {
    listener(identity, Callers::Anybody)
}

/// The connector to adapters and other local servers: the server must be called by a name of its
/// certificate, issued by one of `authorities`; the client certificate is shown if it is asked for.
///
/// # Errors
/// When there is no authority, or the provider lacks what TLS 1.3 needs.
pub fn adapter_connector(
    authorities: &[TrustedAuthority],
    identity: Option<Arc<ReplaceableIdentity>>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(CertificateDer::from(authority.certificate().der().to_vec()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_webpki_verifier(verifier);
    let mut config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The listener of an adapter: it is called by those who show one of these certificates and have its key, and by nobody else.
///
/// # Errors
/// When the provider lacks what TLS 1.3 needs.
pub fn adapter_listener(
    identity: Arc<ReplaceableIdentity>,
    callers: Vec<Certificate>,
) -> Result<Arc<ServerConfig>, Error> {
    listener(identity, Callers::Known(callers))
}

fn listener(
    identity: Arc<ReplaceableIdentity>,
    callers: Callers,
) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let verifier = CallerVerifier {
        callers,
        signatures: HandshakeSignatures::of(&provider),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// Reads a file of the certificates (PEM) of those who may call an adapter.
///
/// # Errors
/// When the file cannot be used.
pub fn read_callers(path: &Path) -> Result<Vec<Certificate>, FileError> {
    file::read_certificates(path)?
        .iter()
        .map(|der| Certificate::parse(der).map_err(|error| FileProblem::from(error).at(path)))
        .collect()
}

/// Reads a file of authorities' certificates (PEM).
///
/// # Errors
/// When the file cannot be used, or one of them may not issue certificates.
pub fn read_authorities(path: &Path) -> Result<Vec<TrustedAuthority>, FileError> {
    file::read_certificates(path)?
        .iter()
        .map(|der| TrustedAuthority::parse(der).map_err(|error| FileProblem::from(error).at(path)))
        .collect()
}

/// Has whoever calls prove that it has the key of the certificate that it shows.
#[derive(Debug)]
struct CallerVerifier {
    callers: Callers,
    signatures: HandshakeSignatures,
}

/// Who may call.
#[derive(Debug)]
enum Callers {
    /// Anybody, with a well-formed certificate or with none.
    Anybody,
    /// Those with these certificates and nobody else, while they are valid.
    Known(Vec<Certificate>),
}

impl ClientCertVerifier for CallerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        match self.callers {
            Callers::Anybody => false,
            Callers::Known(_) => true,
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let shown = Certificate::parse(end_entity).map_err(refusal)?;
        if let Callers::Known(callers) = &self.callers {
            if !callers.iter().any(|known| known.der() == shown.der()) {
                return Err(refusal(shown.refused(Fault::NoCaller)));
            }
            let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
            shown.valid_at(at).map_err(refusal)?;
        }
        Ok(ClientCertVerified::assertion())
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
