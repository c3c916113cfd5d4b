//! An X.509 certificate parsed once into the facts that the rest of the code asks for.

use std::{fmt, sync::Arc};

use trust::{Digest, MemberId, ServerId};
use x509_cert::{
    Version,
    der::{
        Decode, ErrorKind,
        oid::{
            ObjectIdentifier,
            db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME},
        },
    },
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName},
};

use crate::{
    error::{CertificateError, Fault, MAXIMUM_DER, short},
    name::{ORGANIZATION_IDENTIFIER, display, host_names, only},
    profile::{Role, Violation},
    subject_public_key::{self, SubjectPublicKey},
};

/// A well-formed X.509 version 3 certificate; nothing is said about who issued it.
///
/// Cheap to clone: all clones share what was parsed.
#[derive(Clone)]
pub struct Certificate(Arc<Facts>);

struct Facts {
    der: Vec<u8>,
    digest: Digest,
    subject: String,
    issuer: String,
    serial: String,
    not_before: i64,
    not_after: i64,
    common_name: Option<String>,
    organization: Option<String>,
    organization_identifier: Option<String>,
    names: Vec<String>,
    public_key: Option<SubjectPublicKey>,
    key_description: String,
    key_usages: Vec<KeyUsages>,
    key_usage_is_critical: bool,
    extended_key_usages: Vec<ObjectIdentifier>,
    is_authority: bool,
    path_length: Option<u8>,
}

impl Certificate {
    /// Parses exactly one DER certificate of at most 64 KiB.
    ///
    /// # Errors
    /// When it is too long, malformed, of another version, or followed by anything.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let refused = |fault| CertificateError::unparsed(der, fault);
        if der.len() > MAXIMUM_DER {
            return Err(refused(Fault::TooLarge(der.len())));
        }
        let malformed = |error: x509_cert::der::Error| {
            refused(match error.kind() {
                ErrorKind::TrailingData { .. } => Fault::TrailingBytes,
                _ => Fault::Malformed(error.to_string()),
            })
        };
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let body = &parsed.tbs_certificate;
        if body.version != Version::V3 {
            return Err(refused(Fault::Malformed("another version".into())));
        }

        // A value inside an extension that does not end where it should is malformed, not followed.
        let extension = |error: x509_cert::der::Error| refused(Fault::Malformed(error.to_string()));
        let key_usage = body.get::<KeyUsage>().map_err(extension)?;
        let extended = body.get::<ExtendedKeyUsage>().map_err(extension)?;
        let constraints = body.get::<BasicConstraints>().map_err(extension)?;
        let names = body.get::<SubjectAltName>().map_err(extension)?;
        let (public_key, key_description) = subject_public_key::read(&body.subject_public_key_info);

        Ok(Self(Arc::new(Facts {
            digest: Digest::of(der),
            subject: display(&body.subject),
            issuer: display(&body.issuer),
            serial: hex::encode(body.serial_number.as_bytes()),
            not_before: seconds(body.validity.not_before),
            not_after: seconds(body.validity.not_after),
            common_name: only(&body.subject, COMMON_NAME),
            organization: only(&body.subject, ORGANIZATION_NAME),
            organization_identifier: only(&body.subject, ORGANIZATION_IDENTIFIER),
            names: names.map_or_else(Vec::new, |(_, names)| host_names(&names)),
            public_key,
            key_description,
            key_usage_is_critical: key_usage.as_ref().is_some_and(|(critical, _)| *critical),
            key_usages: key_usage.map_or_else(Vec::new, |(_, usage)| usage.0.into_iter().collect()),
            extended_key_usages: extended.map_or_else(Vec::new, |(_, usage)| usage.0),
            is_authority: constraints.as_ref().is_some_and(|(_, found)| found.ca),
            path_length: constraints.and_then(|(_, found)| found.path_len_constraint),
            der: der.to_vec(),
        })))
    }

    /// The bytes that were parsed.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// SHA-256 of the bytes: the certificate's name everywhere else.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The subject for people to read: bounded, without control characters.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The issuer for people to read: bounded, without control characters.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// The serial number in hexadecimal.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.0.serial
    }

    /// The first second of its validity, in seconds since 1970.
    #[must_use]
    pub fn not_before(&self) -> i64 {
        self.0.not_before
    }

    /// The last second of its validity, in seconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> i64 {
        self.0.not_after
    }

    /// Whether `at` (seconds since 1970) lies in its validity.
    ///
    /// # Errors
    /// When it is not valid yet, or no longer.
    pub fn valid_at(&self, at: i64) -> Result<(), CertificateError> {
        if at < self.not_before() {
            return Err(self.refused(Fault::NotValidYet(self.not_before())));
        }
        if at > self.not_after() {
            return Err(self.refused(Fault::Expired(self.not_after())));
        }
        Ok(())
    }

    /// The commonName of the subject, if there is exactly one and it is text.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.common_name.as_deref()
    }

    /// The organizationName of the subject, if there is exactly one and it is text.
    #[must_use]
    pub fn organization(&self) -> Option<&str> {
        self.0.organization.as_deref()
    }

    /// The organizationIdentifier of the subject, if there is exactly one and it is text.
    #[must_use]
    pub fn organization_identifier(&self) -> Option<&str> {
        self.0.organization_identifier.as_deref()
    }

    /// The member that the organizationIdentifier names.
    #[must_use]
    pub fn member(&self) -> Option<MemberId> {
        self.organization_identifier()?.parse().ok()
    }

    /// The security server that the commonName names.
    #[must_use]
    pub fn server(&self) -> Option<ServerId> {
        self.common_name()?.parse().ok()
    }

    /// The DNS names and addresses it is good for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// The key, if signatures of messages may be verified with its kind.
    #[must_use]
    pub fn public_key(&self) -> Option<&SubjectPublicKey> {
        self.0.public_key.as_ref()
    }

    /// The kind of key in words.
    #[must_use]
    pub fn key_description(&self) -> &str {
        &self.0.key_description
    }

    /// The key usages; empty if the extension is absent.
    #[must_use]
    pub fn key_usages(&self) -> &[KeyUsages] {
        &self.0.key_usages
    }

    /// Whether the key usage is there and critical.
    #[must_use]
    pub fn key_usage_is_critical(&self) -> bool {
        self.0.key_usage_is_critical
    }

    /// The extended key usages; empty if the extension is absent.
    #[must_use]
    pub fn extended_key_usages(&self) -> &[ObjectIdentifier] {
        &self.0.extended_key_usages
    }

    /// Whether it says of itself that it may issue certificates.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.0.is_authority
    }

    /// How many authorities may follow below it, if it sets a limit.
    #[must_use]
    pub fn path_length(&self) -> Option<u8> {
        self.0.path_length
    }

    /// The role that it is for, judged by its usages alone.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        if self.is_authority() {
            return Some(Role::Authority);
        }
        Role::ALL.into_iter().find(|role| {
            let profile = role.profile();
            let same_extended = self.extended_key_usages().len()
                == profile.extended_key_usages.len()
                && profile
                    .extended_key_usages
                    .iter()
                    .all(|usage| self.extended_key_usages().contains(usage));
            same_extended && self.key_usages() == profile.key_usages
        })
    }

    /// Checks it against the profile of `role`.
    ///
    /// # Errors
    /// Naming the role it has instead, or each point where it differs.
    pub fn require(&self, role: Role) -> Result<(), CertificateError> {
        let violations = role.profile().violations(self);
        if violations.is_empty() {
            return Ok(());
        }
        Err(self.refused(match self.role() {
            Some(found) if found != role => Fault::WrongRole {
                wanted: role,
                found,
            },
            _ => Fault::Profile { role, violations },
        }))
    }

    /// Each point where it differs from the profile of `role`.
    #[must_use]
    pub fn violations(&self, role: Role) -> Vec<Violation> {
        role.profile().violations(self)
    }

    pub(crate) fn refused(&self, fault: Fault) -> CertificateError {
        CertificateError {
            certificate: format!("\"{}\" ({})", self.subject(), short(&self.digest())),
            fault,
        }
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("subject", &self.subject())
            .field("digest", &self.digest())
            .finish_non_exhaustive()
    }
}

fn seconds(time: x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
