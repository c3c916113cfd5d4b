//! rustls configurations: TLS 1.3 only, hybrid key exchange, no resumption, the provider explicit.
//!
//! A resumed session would skip the certificate verifier, and with it the registry: nothing is
//! stored, no ticket is sent, none is used. Connections outlive a registration all the same, so
//! whoever takes a message asks the registry again, by [`peer_certificate_digest`].
//!
//! In TLS 1.3 a client has finished its handshake before the server has seen its certificate; it
//! learns of a refusal when it first reads. [`describe`] has words for both sides.

mod client;
mod identity;
mod peer;
mod refusal;

use std::{io, os::fd::AsFd, sync::Arc, time::Duration};

use rustls::{
    DigitallySignedStruct, Error, NamedGroup, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature},
    pki_types::CertificateDer,
};
use trust::Digest;

pub use client::{
    adapter_connector, adapter_listener, client_listener, read_authorities, read_callers,
};
pub use identity::ReplaceableIdentity;
pub use peer::{PeerTls, RegisteredServers, peer_name};
pub use refusal::{describe, describe_chain};

/// The application protocol of gRPC.
pub const HTTP2: &[u8] = b"h2";

/// The cryptography of every configuration here: aws-lc-rs, TLS 1.3 suites only, and the key
/// exchange that withstands quantum computers first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some());
    provider.kx_groups = vec![
        aws_lc_rs::kx_group::X25519MLKEM768,
        aws_lc_rs::kx_group::X25519,
        aws_lc_rs::kx_group::SECP256R1,
    ];
    Arc::new(provider)
}

/// The key exchange groups that are offered and accepted, the preferred one first.
pub const KEY_EXCHANGE: [NamedGroup; 3] = [
    NamedGroup::X25519MLKEM768,
    NamedGroup::X25519,
    NamedGroup::secp256r1,
];

/// Has the system find out that the other end is gone: after fifteen seconds of silence, thirty in all. HTTP/2 could ask too, but
/// servers of gRPC take it amiss while a long call runs.
///
/// # Errors
/// When the socket is none of TCP.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    use rustix::net::sockopt;
    const SILENCE: Duration = Duration::from_secs(15);
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, SILENCE / 3)?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_user_timeout(socket, 30_000)?;
    Ok(())
}

/// The digest of the certificate that the other side showed, given its chain.
#[must_use]
pub fn peer_certificate_digest(chain: Option<&[CertificateDer<'_>]>) -> Option<Digest> {
    chain?.first().map(|certificate| Digest::of(certificate))
}

/// Verifies that the other side has the key of the certificate it showed. Shared by all verifiers.
#[derive(Debug, Clone, Copy)]
struct HandshakeSignatures(WebPkiSupportedAlgorithms);

impl HandshakeSignatures {
    fn of(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }

    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }

    /// Never reached, since no configuration offers TLS 1.2; refused should that change.
    fn refuse_tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(
            rustls::PeerIncompatible::ServerDoesNotSupportTls12Or13,
        ))
    }
}
