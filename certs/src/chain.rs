//! Who vouches for a certificate: its path to an authority that the caller approves of.

use std::{fmt, sync::Arc, time::Duration};

use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use trust::Digest;
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext, VerifiedPath, anchor_from_trusted_cert, aws_lc_rs as algorithms,
};
use x509_cert::{
    der::oid::{
        ObjectIdentifier,
        db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
    },
    ext::pkix::KeyUsages,
};

use crate::{
    certificate::Certificate,
    error::{CertificateError, Fault, MAXIMUM_DER, MAXIMUM_PATH},
    profile::{self, Role, Violation},
    role::{AuthenticationCertificate, SigningCertificate},
};

/// The algorithms that authorities may sign certificates with.
static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// A certification authority that is approved of, as the registry lists it. Cheap to clone.
#[derive(Clone)]
pub struct TrustedAuthority {
    certificate: Certificate,
    anchor: Arc<TrustAnchor<'static>>,
}

impl TrustedAuthority {
    /// Parses an authority's certificate. Its own issuer is not asked for: whoever lists it trusts
    /// it. It may be an intermediate authority.
    ///
    /// # Errors
    /// When it is malformed or may not issue certificates.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::parse(der)?;
        may_issue(&certificate)?;
        let bytes = CertificateDer::from(der);
        let anchor = anchor_from_trusted_cert(&bytes)
            .map_err(|error| certificate.refused(Fault::Malformed(error.to_string())))?
            .to_owned();
        Ok(Self {
            certificate,
            anchor: Arc::new(anchor),
        })
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of its certificate: what the registry knows it by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }
}

impl PartialEq for TrustedAuthority {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for TrustedAuthority {}

impl fmt::Debug for TrustedAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TrustedAuthority")
            .field(&self.certificate)
            .finish()
    }
}

/// The proof that an authority vouches for a certificate of a checked role.
///
/// Only [`vouch`] and [`vouch_authentication`] make it. Cheap to clone, so it can be kept by
/// digest; then ask [`Self::valid_at`] for each other time, and whether [`Self::authority`] is
/// still approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedCertificate<C = SigningCertificate> {
    certificate: C,
    authority: Digest,
    /// DER of the certificates between it and the authority.
    between: Vec<Vec<u8>>,
    not_before: i64,
    not_after: i64,
}

impl<C: AsRef<Certificate>> VouchedCertificate<C> {
    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &C {
        &self.certificate
    }

    /// SHA-256 of the certificate of the authority that vouches.
    #[must_use]
    pub fn authority(&self) -> Digest {
        self.authority
    }

    /// DER of the certificates that the path to the authority leads over, from this one upwards:
    /// those that were needed, and no others that came with them.
    pub fn between(&self) -> impl Iterator<Item = &[u8]> {
        self.between.iter().map(Vec::as_slice)
    }

    /// The first second at which the whole path is valid.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The last second at which the whole path is valid.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// Whether at `at` (seconds since 1970) the certificate, its authority and every certificate
    /// between them are valid.
    ///
    /// # Errors
    /// When one of them is not valid yet, or no longer.
    pub fn valid_at(&self, at: i64) -> Result<(), CertificateError> {
        let refused = |fault| Err(self.certificate.as_ref().refused(fault));
        if at < self.not_before {
            return refused(Fault::NotValidYet(self.not_before));
        }
        if at > self.not_after {
            return refused(Fault::Expired(self.not_after));
        }
        Ok(())
    }
}

impl From<&VouchedCertificate> for trust::message::SigningCertificate {
    fn from(vouched: &VouchedCertificate) -> Self {
        Self {
            digest: vouched.certificate.digest(),
            member: vouched.certificate.member().clone(),
            authority: vouched.authority,
            not_before: vouched.not_before,
            not_after: vouched.not_after,
            public_key: vouched.certificate.public_key().clone(),
        }
    }
}

impl AsRef<Certificate> for SigningCertificate {
    fn as_ref(&self) -> &Certificate {
        self.certificate()
    }
}

impl AsRef<Certificate> for AuthenticationCertificate {
    fn as_ref(&self) -> &Certificate {
        self.certificate()
    }
}

/// Finds the authority that vouches for a signing certificate at `at` (seconds since 1970).
///
/// # Errors
/// When it is no signing certificate, or no authority of the list vouches for it at that time.
pub fn vouch<I: AsRef<[u8]>>(
    der: &[u8],
    intermediates: &[I],
    authorities: &[TrustedAuthority],
    at: i64,
) -> Result<VouchedCertificate, CertificateError> {
    let certificate = SigningCertificate::parse(der)?;
    path_to_authority(certificate, Role::Signing, intermediates, authorities, at)
}

/// Finds the authority that vouches for an authentication certificate at `at` (seconds since 1970).
///
/// # Errors
/// When it is no authentication certificate, or no authority of the list vouches for it then.
pub fn vouch_authentication<I: AsRef<[u8]>>(
    der: &[u8],
    intermediates: &[I],
    authorities: &[TrustedAuthority],
    at: i64,
) -> Result<VouchedCertificate<AuthenticationCertificate>, CertificateError> {
    let certificate = AuthenticationCertificate::parse(der)?;
    path_to_authority(
        certificate,
        Role::Authentication,
        intermediates,
        authorities,
        at,
    )
}

fn path_to_authority<C: AsRef<Certificate>, I: AsRef<[u8]>>(
    certificate: C,
    role: Role,
    intermediates: &[I],
    authorities: &[TrustedAuthority],
    at: i64,
) -> Result<VouchedCertificate<C>, CertificateError> {
    let facts = certificate.as_ref();
    facts.valid_at(at)?;
    if intermediates.len() > MAXIMUM_PATH {
        return Err(facts.refused(Fault::PathTooLong(intermediates.len())));
    }
    if let Some(long) = intermediates
        .iter()
        .find(|der| der.as_ref().len() > MAXIMUM_DER)
    {
        return Err(facts.refused(Fault::TooLarge(long.as_ref().len())));
    }
    // webpki asks nothing of a trust anchor but its name and key, so its validity is asked here.
    let valid: Vec<_> = authorities
        .iter()
        .filter(|authority| authority.certificate.valid_at(at).is_ok())
        .collect();
    let anchors: Vec<_> = valid
        .iter()
        .map(|authority| (*authority.anchor).clone())
        .collect();
    let between: Vec<_> = intermediates
        .iter()
        .map(|der| CertificateDer::from(der.as_ref()))
        .collect();
    let bytes = CertificateDer::from(facts.der());
    let end_entity = EndEntityCert::try_from(&bytes).map_err(|error| path_fault(facts, &error))?;
    let seconds = u64::try_from(at).unwrap_or_default();
    let path = end_entity
        .verify_for_usage(
            ALGORITHMS,
            &anchors,
            &between,
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            PathUsage(role),
            None,
            None,
        )
        .map_err(|error| path_fault(facts, &error))?;

    let between = path.intermediate_certificates();
    let between = between.map(|of| of.der().to_vec()).collect();
    let above = issuers(&path, &anchors, &valid)?;
    let not_before = above.iter().map(|issuer| issuer.not_before());
    let not_after = above.iter().map(|issuer| issuer.not_after());
    let (not_before, not_after) = (
        not_before.fold(facts.not_before(), i64::max),
        not_after.fold(facts.not_after(), i64::min),
    );
    let authority = above
        .last()
        .map_or_else(|| facts.digest(), Certificate::digest);
    Ok(VouchedCertificate {
        certificate,
        authority,
        between,
        not_before,
        not_after,
    })
}

/// The certificates above the end of a verified path, the authority last, each allowed to issue.
fn issuers(
    path: &VerifiedPath<'_>,
    anchors: &[TrustAnchor<'_>],
    authorities: &[&TrustedAuthority],
) -> Result<Vec<Certificate>, CertificateError> {
    let mut above = Vec::new();
    for intermediate in path.intermediate_certificates() {
        let certificate = Certificate::parse(&intermediate.der())?;
        may_issue(&certificate)?;
        above.push(certificate);
    }
    let authority = anchors
        .iter()
        .zip(authorities)
        .find(|(anchor, _)| std::ptr::eq(*anchor, path.anchor()));
    if let Some((_, authority)) = authority {
        let below = above.len();
        let limit = authority.certificate.path_length();
        if limit.is_some_and(|limit| below > usize::from(limit)) {
            return Err(authority.certificate.refused(Fault::PathTooLong(below)));
        }
        above.push(authority.certificate.clone());
    }
    Ok(above)
}

/// Whether a certificate may stand above another one. webpki asks only for the basic constraints
/// of those in between, and of an authority at the top asks nothing.
fn may_issue(certificate: &Certificate) -> Result<(), CertificateError> {
    let usages = certificate.key_usages();
    if certificate.is_authority() && usages.contains(&KeyUsages::KeyCertSign) {
        return Ok(());
    }
    Err(match certificate.role() {
        Some(found) if found != Role::Authority => certificate.refused(Fault::WrongRole {
            wanted: Role::Authority,
            found,
        }),
        _ => certificate.refused(Fault::Profile {
            role: Role::Authority,
            violations: vec![Violation {
                requirement: "basicConstraints cA true and keyUsage keyCertSign".into(),
                actual: format!(
                    "cA {} and keyUsage {}",
                    certificate.is_authority(),
                    profile::usage_words(usages)
                ),
            }],
        }),
    })
}

/// Extended key usages of every certificate of a path: absent, any, or all that the role needs.
///
/// The certificate at the end was checked exactly before; this holds the authorities between to
/// the restrictions they carry.
struct PathUsage(Role);

impl ExtendedKeyUsageValidator for PathUsage {
    fn validate(&self, usages: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut found: Vec<Vec<usize>> = Vec::new();
        for usage in usages {
            found.push(usage?.to_decoded_oid());
        }
        let holds = |usage: &ObjectIdentifier| {
            found.iter().any(|given| {
                usage
                    .arcs()
                    .map(|arc| arc as usize)
                    .eq(given.iter().copied())
            })
        };
        let needed: &[ObjectIdentifier] = match self.0 {
            Role::Authentication => &[ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH],
            _ => &[],
        };
        let restricted = !found.is_empty() && !holds(&ANY_EXTENDED_KEY_USAGE);
        if restricted && (needed.is_empty() || !needed.iter().all(holds)) {
            return Err(webpki::Error::RequiredEkuNotFoundContext(
                RequiredEkuNotFoundContext {
                    required: KeyUsage::required(ANY_EXTENDED_KEY_USAGE.as_bytes()),
                    present: found,
                },
            ));
        }
        Ok(())
    }
}

fn path_fault(certificate: &Certificate, error: &webpki::Error) -> CertificateError {
    certificate.refused(match error {
        webpki::Error::UnknownIssuer => Fault::UnknownIssuer(certificate.issuer().into()),
        webpki::Error::InvalidSignatureForPublicKey => Fault::BadPath(format!(
            "the signature is not by the authority \"{}\"",
            certificate.issuer()
        )),
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            Fault::BadPath("an authority between may not issue for this use".into())
        }
        other => Fault::BadPath(other.to_string()),
    })
}
