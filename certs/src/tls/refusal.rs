//! Refused handshakes in words, for the side that refuses and for the side that was refused.

use std::{error, io};

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible, PeerMisbehaved};

/// What a TLS error means and what to do about it.
///
/// A side that refuses knows the certificate and the reason; the refused side gets an alert with
/// one number, so its text says where to look.
#[must_use]
pub fn describe(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::Other(ours)) => {
            format!("we refused the other side: {}", ours.0)
        }
        Error::InvalidCertificate(reason) => format!(
            "we refused the other side's certificate: {reason}; \
             have it issued by an approved authority for the name it is called by"
        ),
        Error::NoCertificatesPresented => {
            "we refused the other side: it showed no certificate; configure one there".into()
        }
        Error::AlertReceived(alert) => alert_words(*alert),
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
            "no key exchange in common; the other side needs X25519MLKEM768, X25519 or secp256r1"
                .into()
        }
        Error::PeerIncompatible(reason) => {
            format!("the other side does not speak TLS 1.3 as we do ({reason:?}); update it")
        }
        Error::NoApplicationProtocol => {
            "the other side does not offer HTTP/2 (h2); it is no gRPC client or server".into()
        }
        Error::PeerMisbehaved(PeerMisbehaved::InvalidCertCompression)
        | Error::InvalidMessage(_) => {
            format!("the other side does not speak TLS ({error}); check address and port")
        }
        other => format!("the handshake failed: {other}"),
    }
}

/// The same for an error that has one of rustls somewhere among its sources, as those of sockets
/// and gRPC channels do.
#[must_use]
pub fn describe_chain(error: &(dyn error::Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<Error>() {
            return Some(describe(found));
        }
        // An error of IO gives as its source that of the error inside it, not the error itself.
        let inside = current
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => current.source(),
        };
    }
    None
}

fn alert_words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateUnknown => {
            "the other side refused our certificate: it is not registered there for this server, \
             is outside its validity, or no approved authority issued it; compare `certs show` \
             with the registry, and look into the log of the other side"
                .into()
        }
        AlertDescription::CertificateRequired => {
            "the other side refused us: it asks for a certificate and we showed none; \
             configure one here"
                .into()
        }
        AlertDescription::CertificateExpired => {
            "the other side refused our certificate as outside its validity; renew it".into()
        }
        AlertDescription::UnknownCA => {
            "the other side refused our certificate: it does not know its issuer; \
             have it issued by an authority that the other side approves of"
                .into()
        }
        AlertDescription::BadCertificate | AlertDescription::UnsupportedCertificate => format!(
            "the other side refused our certificate ({alert:?}); \
             compare it with its profile with `certs show`"
        ),
        AlertDescription::ProtocolVersion => {
            "the other side does not speak TLS 1.3; update it".into()
        }
        AlertDescription::NoApplicationProtocol => {
            "the other side does not offer HTTP/2 (h2); it is no gRPC server".into()
        }
        AlertDescription::HandshakeFailure => {
            "the other side has no key exchange or cipher in common with us; update it".into()
        }
        other => format!("the other side ended the handshake with the alert {other:?}"),
    }
}
