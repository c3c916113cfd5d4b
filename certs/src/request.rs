//! Certificate requests (PKCS #10, RFC 2986): made for a subject, and checked when they arrive.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rcgen::CertificateParams;
use x509_cert::{
    der::{
        Decode, Encode, Reader, SliceReader,
        oid::db::{
            rfc4519::COMMON_NAME,
            rfc5912::{ECDSA_WITH_SHA_256, SHA_256_WITH_RSA_ENCRYPTION},
        },
    },
    request::CertReq,
};

use crate::{
    authority::{Subject, distinguished_name},
    error::{IssueError, MAXIMUM_DER},
    key::PrivateKey,
    name::only,
    subject_public_key::{self, SubjectPublicKey},
};

/// A request whose own signature holds: its sender has the private key.
///
/// Only two things are taken from it, the key and the name asked for. Extensions that it asks for
/// are never copied: the profile decides.
#[derive(Debug, Clone)]
pub struct CertificateRequest {
    subject_public_key_info: Vec<u8>,
    common_name: Option<String>,
    public_key: SubjectPublicKey,
}

impl CertificateRequest {
    /// Parses a DER request and verifies its signature.
    ///
    /// # Errors
    /// When it is malformed, its key is of a kind that no profile allows, or its signature fails.
    pub fn parse(der: &[u8]) -> Result<Self, IssueError> {
        let refused = |reason: String| IssueError::Request(reason);
        if der.len() > MAXIMUM_DER {
            return Err(refused(format!("has more than {MAXIMUM_DER} bytes")));
        }
        let malformed = |error: x509_cert::der::Error| refused(format!("is malformed ({error})"));
        let request = CertReq::from_der(der).map_err(malformed)?;
        let (key, description) = subject_public_key::read(&request.info.public_key);
        let key = key.ok_or_else(|| {
            refused(format!(
                "has a key {description}, not ECDSA P-256 or RSA of 2048 bits or more"
            ))
        })?;
        let algorithm: &'static dyn VerificationAlgorithm = match (&key, request.algorithm.oid) {
            (SubjectPublicKey::EcdsaP256(_), ECDSA_WITH_SHA_256) => &ECDSA_P256_SHA256_ASN1,
            (SubjectPublicKey::Rsa(_), SHA_256_WITH_RSA_ENCRYPTION) => &RSA_PKCS1_2048_8192_SHA256,
            (_, other) => {
                return Err(refused(format!(
                    "is signed with algorithm {other}, not with SHA-256 and its own key"
                )));
            }
        };
        let bytes = match &key {
            SubjectPublicKey::EcdsaP256(bytes) | SubjectPublicKey::Rsa(bytes) => bytes,
        };
        // The signature is over the bytes as they came, not over an encoding of our own.
        let signed = SliceReader::new(der)
            .and_then(|mut reader| {
                reader.sequence(|fields| {
                    let signed = fields.tlv_bytes()?;
                    let rest = fields.remaining_len();
                    fields.read_slice(rest)?;
                    Ok(signed)
                })
            })
            .map_err(malformed)?;
        let signature = request.signature.as_bytes().unwrap_or_default();
        UnparsedPublicKey::new(algorithm, bytes)
            .verify(signed, signature)
            .map_err(|_| refused("is not signed by the key it holds".into()))?;
        Ok(Self {
            subject_public_key_info: request.info.public_key.to_der().map_err(malformed)?,
            common_name: only(&request.info.subject, COMMON_NAME),
            public_key: key,
        })
    }

    /// The name it asks for: the commonName, if there is exactly one.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Its key.
    #[must_use]
    pub fn public_key(&self) -> &SubjectPublicKey {
        &self.public_key
    }

    pub(crate) fn subject_public_key_info(&self) -> &[u8] {
        &self.subject_public_key_info
    }
}

pub(crate) fn make(key: &PrivateKey, subject: &Subject) -> Result<Vec<u8>, IssueError> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = distinguished_name(subject);
    Ok(parameters.serialize_request(key.pair())?.der().to_vec())
}
