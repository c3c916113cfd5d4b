//! The certificate and key that one side shows, replaced while connections are being made.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    Error, SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{
        CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use trust::Digest;
use x509_cert::{
    der::oid::{
        ObjectIdentifier,
        db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
    },
    ext::pkix::KeyUsages,
};

use crate::{
    certificate::Certificate,
    error::{CertificateError, Fault, FileError, FileProblem, IssueError},
    file,
    key::PrivateKey,
    profile::{Role, Violation, extended_words, usage_words},
    tls::provider,
};

/// A certificate chain with its key, which new handshakes take from here.
///
/// Connections that exist keep the certificate they were made with.
pub struct ReplaceableIdentity {
    role: Role,
    files: Option<(PathBuf, PathBuf)>,
    current: ArcSwap<Current>,
}

struct Current {
    certificate: Certificate,
    key: Arc<CertifiedKey>,
}

impl ReplaceableIdentity {
    /// Loads certificate (its intermediates after it) and key from PEM files.
    ///
    /// # Errors
    /// When a file cannot be used, the certificate cannot serve in `role`, or the two do not
    /// belong together.
    pub fn load(role: Role, certificate: &Path, key: &Path) -> Result<Arc<Self>, FileError> {
        Ok(Arc::new(Self {
            role,
            current: ArcSwap::from_pointee(read(role, certificate, key)?),
            files: Some((certificate.into(), key.into())),
        }))
    }

    /// An identity that is in no file.
    ///
    /// # Errors
    /// When the certificate cannot serve in `role`, or does not belong to the key.
    pub fn of(role: Role, chain: &[&[u8]], key: &PrivateKey) -> Result<Arc<Self>, IssueError> {
        let chain: Vec<_> = chain.iter().map(|der| der.to_vec()).collect();
        let first = chain
            .first()
            .ok_or_else(|| IssueError::Subject("a chain has at least one certificate".into()))?;
        let certificate = Certificate::parse(first)?;
        check(role, &certificate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.pkcs8().to_vec()));
        let key =
            certified(chain, key).map_err(|error| IssueError::Cryptography(error.to_string()))?;
        Ok(Arc::new(Self {
            role,
            files: None,
            current: ArcSwap::from_pointee(Current { certificate, key }),
        }))
    }

    /// Reads the files again; handshakes from now on show what they hold. Gives the certificate
    /// that is in use afterwards.
    ///
    /// # Errors
    /// When a file cannot be used: the former certificate stays in use.
    pub fn reload(&self) -> Result<Certificate, FileError> {
        if let Some((certificate, key)) = &self.files {
            self.current
                .store(Arc::new(read(self.role, certificate, key)?));
        }
        Ok(self.certificate())
    }

    /// The certificate in use.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.current.load().certificate.clone()
    }

    /// SHA-256 of the certificate in use.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.current.load().certificate.digest()
    }

    /// The role it was loaded for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }
}

impl ResolvesServerCert for ReplaceableIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key.clone())
    }
}

impl ResolvesClientCert for ReplaceableIdentity {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ReplaceableIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReplaceableIdentity")
            .field("role", &self.role)
            .field("certificate", &self.certificate())
            .finish_non_exhaustive()
    }
}

fn read(role: Role, certificate_path: &Path, key_path: &Path) -> Result<Current, FileError> {
    let chain = file::read_certificates(certificate_path)?;
    let refused = |error: CertificateError| FileProblem::from(error).at(certificate_path);
    let certificate = Certificate::parse(&chain[0]).map_err(refused)?;
    check(role, &certificate).map_err(refused)?;
    let bytes = file::read_private(key_path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        match error {
            pem::Error::NoItemsFound => FileProblem::Missing(file::PRIVATE_KEY),
            other => file::malformed(&other),
        }
        .at(key_path)
    })?;
    let key = certified(chain, key).map_err(|error| {
        match error {
            Error::InconsistentKeys(_) => FileProblem::KeyMismatch(certificate_path.into()),
            other => FileProblem::Key(other.to_string()),
        }
        .at(key_path)
    })?;
    Ok(Current { certificate, key })
}

/// Whether a certificate can serve in TLS in this role. Those of other authorities need not meet
/// our profile for clients and listeners, only be meant for such a use.
fn check(role: Role, certificate: &Certificate) -> Result<(), CertificateError> {
    let needed: ObjectIdentifier = match role {
        Role::Client => ID_KP_CLIENT_AUTH,
        Role::Listener => ID_KP_SERVER_AUTH,
        // Of the others only an authentication certificate ever meets this profile.
        _ => return certificate.require(Role::Authentication),
    };
    if let Some(found @ (Role::Signing | Role::Authority)) = certificate.role() {
        return Err(certificate.refused(Fault::WrongRole {
            wanted: role,
            found,
        }));
    }
    let usages = certificate.key_usages();
    let extended = certificate.extended_key_usages();
    let meant = (usages.is_empty() || usages.contains(&KeyUsages::DigitalSignature))
        && (extended.is_empty() || extended.contains(&needed));
    if meant {
        return Ok(());
    }
    Err(certificate.refused(Fault::Profile {
        role,
        violations: vec![Violation {
            requirement: format!(
                "keyUsage digitalSignature and extendedKeyUsage {}",
                extended_words(&[needed])
            ),
            actual: format!("{} and {}", usage_words(usages), extended_words(extended)),
        }],
    }))
}

/// Joins chain and key, which must be of one pair.
fn certified(chain: Vec<Vec<u8>>, key: PrivateKeyDer<'static>) -> Result<Arc<CertifiedKey>, Error> {
    let key = provider().key_provider.load_private_key(key)?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match()?;
    Ok(Arc::new(certified))
}
