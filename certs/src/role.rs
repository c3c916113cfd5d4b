//! Certificates whose role was checked: signing (of a member) and authentication (of a server).

use std::{fmt, path::Path};

use trust::{
    Digest, MemberId, ServerId,
    signature::{PublicKey, Signer, SigningFailed},
};

use crate::{
    certificate::Certificate,
    error::{CertificateError, Fault, FileError, FileProblem},
    file,
    key::SigningKey,
    profile::Role,
    subject_public_key::SubjectPublicKey,
};

/// A certificate that a member signs messages with.
#[derive(Clone)]
pub struct SigningCertificate {
    certificate: Certificate,
    member: MemberId,
    public_key: PublicKey,
}

impl SigningCertificate {
    /// Parses a certificate and checks it against the signing profile. Issuer and time are not
    /// checked here: [`crate::vouch`] does that.
    ///
    /// # Errors
    /// When it is malformed, of another role, or outside the profile.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        Self::try_from(Certificate::parse(der)?)
    }

    /// The facts of the certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of the certificate: what a signature names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }

    /// The member that signs.
    #[must_use]
    pub fn member(&self) -> &MemberId {
        &self.member
    }

    /// The key that verifies its signatures.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}

impl PartialEq for SigningCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for SigningCertificate {}

impl fmt::Debug for SigningCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("SigningCertificate")
            .field(&self.certificate)
            .finish()
    }
}

impl TryFrom<Certificate> for SigningCertificate {
    type Error = CertificateError;

    fn try_from(certificate: Certificate) -> Result<Self, CertificateError> {
        certificate.require(Role::Signing)?;
        let missing = || certificate.refused(Fault::Malformed("no member or no key".into()));
        Ok(Self {
            member: certificate.member().ok_or_else(missing)?,
            public_key: certificate
                .public_key()
                .and_then(SubjectPublicKey::verifier)
                .ok_or_else(missing)?,
            certificate,
        })
    }
}

/// A certificate that a security server shows to other security servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthenticationCertificate {
    certificate: Certificate,
    server: ServerId,
}

impl AuthenticationCertificate {
    /// Parses a certificate and checks it against the authentication profile. Issuer and time are
    /// not checked here: [`crate::vouch_authentication`] does that.
    ///
    /// # Errors
    /// When it is malformed, of another role, or outside the profile.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        Self::try_from(Certificate::parse(der)?)
    }

    /// The facts of the certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of the certificate: what the registry knows it by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }

    /// The server it names; who the server *is* says the registry, by the digest.
    #[must_use]
    pub fn server(&self) -> &ServerId {
        &self.server
    }
}

impl TryFrom<Certificate> for AuthenticationCertificate {
    type Error = CertificateError;

    fn try_from(certificate: Certificate) -> Result<Self, CertificateError> {
        certificate.require(Role::Authentication)?;
        let missing = || certificate.refused(Fault::Malformed("no server".into()));
        Ok(Self {
            server: certificate.server().ok_or_else(missing)?,
            certificate,
        })
    }
}

/// A member's signing key with its certificate, checked to be one pair.
#[derive(Debug)]
pub struct SigningIdentity {
    /// The certificate.
    pub certificate: SigningCertificate,
    /// The certificates between it and the approved authority.
    pub intermediates: Vec<Vec<u8>>,
    /// The key.
    pub key: SigningKey,
}

impl SigningIdentity {
    /// Loads both from PEM files; intermediate certificates may follow the certificate.
    ///
    /// # Errors
    /// When a file cannot be used, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, FileError> {
        let mut chain = file::read_certificates(certificate)?;
        let first = SigningCertificate::parse(&chain.remove(0))
            .map_err(|error| FileProblem::from(error).at(certificate))?;
        let key_of_certificate = first.certificate().public_key().cloned();
        let identity = Self {
            certificate: first,
            intermediates: chain,
            key: SigningKey::load(key)?,
        };
        let public_key = SubjectPublicKey::EcdsaP256(identity.key.public_key().to_vec());
        if key_of_certificate == Some(public_key) {
            Ok(identity)
        } else {
            Err(FileProblem::KeyMismatch(certificate.into()).at(key))
        }
    }
}

impl Signer for SigningIdentity {
    fn certificate_digest(&self) -> Digest {
        self.certificate.digest()
    }

    fn sign(&self, signed_attributes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        self.key.sign(signed_attributes)
    }
}
