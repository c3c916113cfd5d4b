//! A **test** certification authority, for demonstrations and tests.
//!
//! It keeps its key in a file, has no revocation, no register of what it issued and no rules on
//! who may ask: a real authority has all of these. Certificates of a real authority serve just as
//! well wherever they meet the profiles.

use std::{fmt, net::IpAddr, path::Path};

use durable::{FileSystem, Posix};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
    date_time_ymd,
};
use trust::{Digest, MemberId, ServerId};
use x509_cert::{
    der::oid::{ObjectIdentifier, db::rfc5280::ID_KP_CLIENT_AUTH},
    ext::pkix::KeyUsages,
};

use crate::{
    certificate::Certificate,
    chain::TrustedAuthority,
    error::{FileError, FileProblem, IssueError},
    file,
    key::PrivateKey,
    name::{self, ORGANIZATION_IDENTIFIER},
    profile::{Profile, Role},
    request::CertificateRequest,
    subject_public_key::SubjectPublicKey,
};

/// The name of the authority's certificate in its directory.
pub const CERTIFICATE_FILE: &str = "ca.pem";
/// The name of the authority's private key in its directory.
pub const KEY_FILE: &str = "ca.key";

/// Certificates begin this many seconds early, since the clocks of two machines differ.
const EARLY: i64 = 300;

/// Whom a certificate is for; the role follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A member, for its signing certificate.
    Signing {
        /// The member.
        member: MemberId,
        /// The member's name, e.g. of the agency.
        organization: Option<String>,
    },
    /// A security server, for its authentication certificate.
    Authentication {
        /// The server.
        server: ServerId,
        /// The name of its owner.
        organization: Option<String>,
    },
    /// An agency's system that calls its own security server.
    Client {
        /// A free name.
        name: String,
    },
    /// A server that systems call by name.
    Listener {
        /// A free name.
        name: String,
        /// The DNS names and addresses by which it is called, besides `localhost`.
        names: Vec<String>,
    },
}

impl Subject {
    /// The role of the certificate.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Signing { .. } => Role::Signing,
            Self::Authentication { .. } => Role::Authentication,
            Self::Client { .. } => Role::Client,
            Self::Listener { .. } => Role::Listener,
        }
    }

    /// The commonName.
    #[must_use]
    pub fn common_name(&self) -> &str {
        match self {
            Self::Signing { member, .. } => member.as_str(),
            Self::Authentication { server, .. } => server.as_str(),
            Self::Client { name } | Self::Listener { name, .. } => name,
        }
    }
}

/// From when to when a certificate is valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

impl Validity {
    /// `days` from `now`, and a few minutes before it since clocks differ.
    #[must_use]
    pub const fn days(now: i64, days: u32) -> Self {
        Self {
            not_before: now.saturating_sub(EARLY),
            not_after: now.saturating_add(days as i64 * 86_400),
        }
    }

    /// As long as the profile of `role` says, from `now`.
    #[must_use]
    pub const fn of(role: Role, now: i64) -> Self {
        Self::days(now, role.profile().days)
    }
}

/// A test authority with its key.
pub struct TestAuthority {
    certificate: Certificate,
    issuer: Issuer<'static, rcgen::KeyPair>,
    key: PrivateKey,
}

impl TestAuthority {
    /// Makes a new authority with a key and a certificate of its own.
    ///
    /// # Errors
    /// When name or validity cannot be used.
    pub fn create(name: &str, validity: Validity) -> Result<Self, IssueError> {
        let key = PrivateKey::generate()?;
        let mut distinguished = DistinguishedName::new();
        distinguished.push(DnType::CommonName, checked_name(name)?);
        let parameters = parameters(&Profile::AUTHORITY, distinguished, validity)?;
        let der = parameters.self_signed(key.pair())?.der().to_vec();
        Self::assemble(&der, key)
    }

    /// Loads an authority from the directory it was written to.
    ///
    /// # Errors
    /// When a file cannot be used, or the two do not belong together.
    pub fn load(directory: &Path) -> Result<Self, FileError> {
        let certificate_path = directory.join(CERTIFICATE_FILE);
        let key_path = directory.join(KEY_FILE);
        let der = file::read_certificates(&certificate_path)?.remove(0);
        let key = PrivateKey::load(&key_path)?;
        let certificate = Certificate::parse(&der)
            .map_err(|error| FileProblem::from(error).at(&certificate_path))?;
        if certificate.public_key() != Some(&SubjectPublicKey::EcdsaP256(key.public_key().to_vec()))
        {
            return Err(FileProblem::KeyMismatch(certificate_path).at(&key_path));
        }
        Self::assemble(&der, key)
            .map_err(|error| FileProblem::Key(error.to_string()).at(&certificate_path))
    }

    /// Writes certificate and key into a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), FileError> {
        self.write_in(&Posix, directory)
    }

    /// The same in any file system.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_in(&self, files: &dyn FileSystem, directory: &Path) -> Result<(), FileError> {
        durable::make_folder(files, directory)
            .map_err(|error| FileProblem::Write(error).at(directory))?;
        self.key.write_in(files, &directory.join(KEY_FILE))?;
        let certificate = self.certificate.der();
        file::write_certificates_in(files, &directory.join(CERTIFICATE_FILE), &[certificate])
    }

    /// Its certificate.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// SHA-256 of its certificate.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.certificate.digest()
    }

    /// Itself as an authority that is trusted.
    ///
    /// # Errors
    /// Never for an authority that was made here; the type is checked like any other.
    pub fn trusted(&self) -> Result<TrustedAuthority, IssueError> {
        Ok(TrustedAuthority::parse(self.certificate.der())?)
    }

    /// Issues a certificate (DER) for the key of a request.
    ///
    /// # Errors
    /// When subject or validity cannot be used.
    pub fn issue(
        &self,
        request: &CertificateRequest,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Vec<u8>, IssueError> {
        let key = SubjectPublicKeyInfo::from_der(request.subject_public_key_info())?;
        self.issue_for_public(&key, subject, validity)
    }

    /// Issues a certificate (DER) for a key at hand.
    ///
    /// # Errors
    /// When subject or validity cannot be used.
    pub fn issue_for(
        &self,
        key: &PrivateKey,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Vec<u8>, IssueError> {
        self.issue_for_public(key.pair(), subject, validity)
    }

    fn issue_for_public(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        validity: Validity,
    ) -> Result<Vec<u8>, IssueError> {
        if validity.not_after > self.certificate.not_after() {
            return Err(IssueError::Validity(
                "the certificate would outlive its authority".into(),
            ));
        }
        checked_name(subject.common_name())?;
        let profile = subject.role().profile();
        let mut parameters = parameters(profile, distinguished_name(subject), validity)?;
        if let Subject::Listener { names, .. } = subject {
            parameters.subject_alt_names = alternative_names(names)?;
        }
        let der = parameters.signed_by(key, &self.issuer)?.der().to_vec();
        // What leaves here meets the profile that others will check.
        Certificate::parse(&der)?.require(profile.role)?;
        Ok(der)
    }

    fn assemble(der: &[u8], key: PrivateKey) -> Result<Self, IssueError> {
        let certificate = Certificate::parse(der)?;
        certificate.require(Role::Authority)?;
        let pair = rcgen::KeyPair::try_from(key.pkcs8())?;
        Ok(Self {
            issuer: Issuer::from_ca_cert_der(&der.into(), pair)?,
            certificate,
            key,
        })
    }
}

impl fmt::Debug for TestAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TestAuthority")
            .field(&self.certificate)
            .finish()
    }
}

/// The subject as the profiles write it.
pub(crate) fn distinguished_name(subject: &Subject) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let identifier = DnType::CustomDnType(ORGANIZATION_IDENTIFIER.arcs().map(u64::from).collect());
    let (owner, organization) = match subject {
        Subject::Signing {
            member,
            organization,
        } => (Some(member.clone()), organization.as_deref()),
        Subject::Authentication {
            server,
            organization,
        } => (Some(server.owner()), organization.as_deref()),
        Subject::Client { .. } | Subject::Listener { .. } => (None, None),
    };
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    if let Some(owner) = owner {
        name.push(identifier, owner.as_str());
    }
    name.push(DnType::CommonName, subject.common_name());
    name
}

fn parameters(
    profile: &Profile,
    name: DistinguishedName,
    validity: Validity,
) -> Result<CertificateParams, IssueError> {
    if validity.not_before >= validity.not_after {
        return Err(IssueError::Validity("it ends before it begins".into()));
    }
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)?;
    // Positive and never shorter than 16 bytes: the first bit 0, the second 1.
    serial[0] = serial[0] & 0x7f | 0x40;

    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = name;
    parameters.serial_number = Some(SerialNumber::from_slice(&serial));
    parameters.not_before = date_time_ymd(1970, 1, 1) + since_epoch(validity.not_before)?;
    parameters.not_after = date_time_ymd(1970, 1, 1) + since_epoch(validity.not_after)?;
    parameters.use_authority_key_identifier_extension = true;
    parameters.is_ca = match profile.role {
        Role::Authority => IsCa::Ca(BasicConstraints::Constrained(0)),
        _ => IsCa::ExplicitNoCa,
    };
    parameters.key_usages = profile.key_usages.iter().map(purpose).collect();
    parameters.extended_key_usages = profile.extended_key_usages.iter().map(extended).collect();
    Ok(parameters)
}

/// Within the calendar of certificates: 1970 to 9999.
fn since_epoch(seconds: i64) -> Result<std::time::Duration, IssueError> {
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds < 253_402_300_800)
        .map(std::time::Duration::from_secs)
        .ok_or_else(|| IssueError::Validity("it lies outside the years 1970 to 9999".into()))
}

fn checked_name(name: &str) -> Result<&str, IssueError> {
    let usable = (1..=256).contains(&name.len()) && !name.chars().any(char::is_control);
    usable.then_some(name).ok_or_else(|| {
        IssueError::Subject("a name has 1 to 256 bytes and no control characters".into())
    })
}

/// The given names, and the ones by which a machine calls itself.
fn alternative_names(names: &[String]) -> Result<Vec<SanType>, IssueError> {
    let mut all = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    for name in names {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all.into_iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) if is_host_name(&name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
            Err(_) => Err(IssueError::Subject(format!(
                "\"{}\" is neither a DNS name nor an address",
                name::printable(&name)
            ))),
        })
        .collect()
}

fn is_host_name(name: &str) -> bool {
    rustls::pki_types::DnsName::try_from(name).is_ok()
}

fn purpose(usage: &KeyUsages) -> KeyUsagePurpose {
    match usage {
        KeyUsages::DigitalSignature => KeyUsagePurpose::DigitalSignature,
        KeyUsages::NonRepudiation => KeyUsagePurpose::ContentCommitment,
        KeyUsages::KeyEncipherment => KeyUsagePurpose::KeyEncipherment,
        KeyUsages::DataEncipherment => KeyUsagePurpose::DataEncipherment,
        KeyUsages::KeyAgreement => KeyUsagePurpose::KeyAgreement,
        KeyUsages::KeyCertSign => KeyUsagePurpose::KeyCertSign,
        KeyUsages::CRLSign => KeyUsagePurpose::CrlSign,
        KeyUsages::EncipherOnly => KeyUsagePurpose::EncipherOnly,
        KeyUsages::DecipherOnly => KeyUsagePurpose::DecipherOnly,
    }
}

fn extended(usage: &ObjectIdentifier) -> ExtendedKeyUsagePurpose {
    match *usage {
        ID_KP_CLIENT_AUTH => ExtendedKeyUsagePurpose::ClientAuth,
        _ => ExtendedKeyUsagePurpose::ServerAuth,
    }
}
