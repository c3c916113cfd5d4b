//! Private keys: made, written and loaded; a member's signing key and a log's key.

use std::{fmt, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use durable::{FileSystem, Posix};
use rustls::pki_types::{
    PrivatePkcs8KeyDer,
    pem::{self, PemObject},
};

use trust::signature::SigningFailed;

use crate::{
    authority::Subject,
    error::{FileError, FileProblem, IssueError},
    file, request,
};

/// A P-256 private key of any role, to make requests with and to be written into a file.
pub struct PrivateKey {
    pkcs8: Vec<u8>,
    pair: rcgen::KeyPair,
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate() -> Result<Self, IssueError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
        Ok(Self::from_pkcs8(pair.to_pkcs8v1()?.as_ref())?)
    }

    /// Loads a key from a PEM file (PKCS #8).
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds no P-256 key.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::from_pkcs8(&read_pkcs8(path)?).map_err(|error| not_p256(error).at(path))
    }

    /// Writes the key into a new PEM file that only its owner may read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        self.write_in(&Posix, path)
    }

    /// The same in any file system.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_in(&self, files: &dyn FileSystem, path: &Path) -> Result<(), FileError> {
        file::write_pem_in(files, path, file::PRIVATE_KEY, &self.pkcs8, 0o600)
    }

    /// A certificate request (PKCS #10, DER) for `subject`, signed with this key.
    ///
    /// # Errors
    /// When the subject cannot be written into a request.
    pub fn request(&self, subject: &Subject) -> Result<Vec<u8>, IssueError> {
        request::make(self, subject)
    }

    /// The uncompressed point of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key_raw()
    }

    pub(crate) fn pair(&self) -> &rcgen::KeyPair {
        &self.pair
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, rcgen::Error> {
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(
            &PrivatePkcs8KeyDer::from(pkcs8),
            &rcgen::PKCS_ECDSA_P256_SHA256,
        )?;
        Ok(Self {
            pkcs8: pkcs8.to_vec(),
            pair,
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(formatter, "PrivateKey", self.public_key())
    }
}

/// A member's signing key: it signs messages and nothing else.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// Loads a key from a PEM file (PKCS #8).
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds no P-256 key.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        Self::from_pkcs8(&read_pkcs8(path)?).map_err(|error| not_p256(error).at(path))
    }

    /// ECDSA P-256 with SHA-256 over `message`: the signature in DER.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let signature = self.pair.sign(&self.random, message);
        signature
            .map(|signature| signature.as_ref().to_vec())
            .map_err(|_| SigningFailed("the cryptographic library failed".into()))
    }

    /// The uncompressed point of the public key.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, aws_lc_rs::error::KeyRejected> {
        Ok(Self {
            pair: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8)?,
            random: SystemRandom::new(),
        })
    }
}

impl TryFrom<&PrivateKey> for SigningKey {
    type Error = IssueError;

    fn try_from(key: &PrivateKey) -> Result<Self, IssueError> {
        Self::from_pkcs8(&key.pkcs8).map_err(|error| IssueError::Cryptography(error.to_string()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(formatter, "SigningKey", self.public_key())
    }
}

/// An Ed25519 key that signs checkpoints or configuration heads.
pub struct LogKey {
    pair: Ed25519KeyPair,
}

impl LogKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn generate() -> Result<Self, IssueError> {
        Ok(Self {
            pair: Ed25519KeyPair::generate()?,
        })
    }

    /// Loads a key from a PEM file (PKCS #8).
    ///
    /// # Errors
    /// When the file cannot be read, others may read it, or it holds no Ed25519 key.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let pair = Ed25519KeyPair::from_pkcs8(&read_pkcs8(path)?).map_err(|error| {
            FileProblem::Key(format!(
                "a log key is Ed25519 ({error}); make one with `certs log-key new`"
            ))
            .at(path)
        })?;
        Ok(Self { pair })
    }

    /// Writes the key into a new PEM file that only its owner may read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        self.write_in(&Posix, path)
    }

    /// The same in any file system.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_in(&self, files: &dyn FileSystem, path: &Path) -> Result<(), FileError> {
        let pkcs8 = self
            .pair
            .to_pkcs8v1()
            .map_err(|error| FileProblem::Key(error.to_string()).at(path))?;
        file::write_pem_in(files, path, file::PRIVATE_KEY, pkcs8.as_ref(), 0o600)
    }

    /// The signature over `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// The key as logs sign their checkpoints with it.
    #[must_use]
    pub const fn key_pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }
}

impl fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        redacted(formatter, "LogKey", &self.public_key())
    }
}

/// The private part is never shown; the public part says which key it is.
fn redacted(formatter: &mut fmt::Formatter<'_>, name: &str, public_key: &[u8]) -> fmt::Result {
    write!(formatter, "{name}(public {})", hex::encode(public_key))
}

fn read_pkcs8(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = file::read_private(path)?;
    match PrivatePkcs8KeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key.secret_pkcs8_der().to_vec()),
        Err(pem::Error::NoItemsFound) => Err(FileProblem::Key(
            "no PEM section \"PRIVATE KEY\"; convert other kinds with \
             `openssl pkcs8 -topk8 -nocrypt`"
                .into(),
        )
        .at(path)),
        Err(error) => Err(file::malformed(&error).at(path)),
    }
}

fn not_p256(error: impl fmt::Display) -> FileProblem {
    FileProblem::Key(format!(
        "the key is not ECDSA P-256 ({error}); make one with `certs key new`"
    ))
}
