//! The bytes that are signed: ASiC manifest and CMS signed attributes, as fixed templates.
//!
//! Standards: ASiCManifest of ETSI EN 319 162-1, signed attributes of CAdES baseline B
//! (ETSI EN 319 122-1; RFC 5652 section 5.3, RFC 5035 for signing-certificate-v2).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    Digest,
    header::Direction,
    refusal::{Reason, Refusal},
};

/// Length of the signed attributes: the same for every message.
pub const SIGNED_ATTRIBUTES_LENGTH: usize = 165;

/// File name of a message's parts inside an evidence container, without extension:
/// `request-` or `reply-` and ten digits.
#[must_use]
pub fn part_name(direction: Direction, sequence: u64) -> String {
    format!("{}-{sequence:010}", direction.name())
}

/// The manifest of one message: lists the digests of its header and content.
/// No line feed anywhere; two servers make the same bytes from the same message.
#[must_use]
pub fn manifest(direction: Direction, sequence: u64, header: &Digest, content: &Digest) -> String {
    let name = part_name(direction, sequence);
    let header = STANDARD.encode(header.as_bytes());
    let content = STANDARD.encode(content.as_bytes());
    format!(
        concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            r#"<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#""#,
            r#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">"#,
            r#"<asic:SigReference URI="META-INF/signature-{name}.p7s""#,
            r#" MimeType="application/pkcs7-signature"/>"#,
            r#"<asic:DataObjectReference URI="{name}.header""#,
            r#" MimeType="application/vnd.lienthong.header.v1">"#,
            r#"<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>"#,
            r#"<ds:DigestValue>{header}</ds:DigestValue></asic:DataObjectReference>"#,
            r#"<asic:DataObjectReference URI="{name}.content""#,
            r#" MimeType="application/vnd.lienthong.content.v1">"#,
            r#"<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>"#,
            r#"<ds:DigestValue>{content}</ds:DigestValue></asic:DataObjectReference>"#,
            r#"</asic:ASiCManifest>"#,
        ),
        name = name,
        header = header,
        content = content,
    )
}

/// The manifest of a batch of messages: lists the digest of the root of their tree.
/// No line feed anywhere, as in the manifest of one message.
#[must_use]
pub fn batch_manifest(root: &Digest) -> String {
    let name = batch_name(root);
    let digest = STANDARD.encode(Digest::of(root.as_bytes()).as_bytes());
    format!(
        concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            r#"<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#""#,
            r#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">"#,
            r#"<asic:SigReference URI="META-INF/signature-{name}.p7s""#,
            r#" MimeType="application/pkcs7-signature"/>"#,
            r#"<asic:DataObjectReference URI="{name}.root""#,
            r#" MimeType="application/vnd.lienthong.batch-root.v1">"#,
            r#"<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>"#,
            r#"<ds:DigestValue>{digest}</ds:DigestValue></asic:DataObjectReference>"#,
            r#"</asic:ASiCManifest>"#,
        ),
        name = name,
        digest = digest,
    )
}

/// File name of a batch's parts inside an evidence container, without extension: `batch-` and the
/// root in hexadecimal.
#[must_use]
pub fn batch_name(root: &Digest) -> String {
    format!("batch-{root}")
}

/// The message digest: SHA-256 of the manifest. Used for the chain, replay, leaf and
/// `x-road-request-hash`; signature bytes are never part of it.
#[must_use]
pub fn message_digest(
    direction: Direction,
    sequence: u64,
    header: &Digest,
    content: &Digest,
) -> Digest {
    Digest::of(manifest(direction, sequence, header, content).as_bytes())
}

/// The DER `SignedAttributes` (SET OF, tag 31) over which the signature is made.
///
/// # Errors
/// When the time is outside the years of a UTCTime, 1950 to 2049.
pub fn signed_attributes(
    signing_time: i64,
    message_digest: &Digest,
    certificate: &Digest,
) -> Result<[u8; SIGNED_ATTRIBUTES_LENGTH], Refusal> {
    let mut attributes = [0; SIGNED_ATTRIBUTES_LENGTH];
    let time = utc_time(signing_time)?;
    let parts: [&[u8]; 9] = [
        b"\x31\x81\xa2",
        // content-type: id-data
        b"\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03\x31\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01",
        // signing-time: UTCTime
        b"\x30\x1c\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05\x31\x0f\x17\x0d",
        time.as_bytes(),
        // message-digest
        b"\x30\x2f\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04\x31\x22\x04\x20",
        message_digest.as_bytes(),
        // signing-certificate-v2: SHA-256 by default, no issuerSerial
        b"\x30\x37\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f\x31\x28\x30\x26\x30\x24\x30\x22\x04\x20",
        certificate.as_bytes(),
        b"",
    ];
    let mut rest = attributes.as_mut_slice();
    for part in parts {
        let Some((head, tail)) = rest.split_at_mut_checked(part.len()) else {
            return Err(Refusal::new(
                Reason::MalformedEnvelope,
                "signed attributes do not fit",
            ));
        };
        head.copy_from_slice(part);
        rest = tail;
    }
    Ok(attributes)
}

/// `YYMMDDHHMMSSZ`, 13 bytes.
fn utc_time(seconds: i64) -> Result<String, Refusal> {
    let outside = || {
        Refusal::new(
            Reason::MalformedEnvelope,
            format!("the signing time {seconds} is outside the years 1950 to 2049"),
        )
    };
    let time = jiff::Timestamp::from_second(seconds).map_err(|_| outside())?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC);
    if !(1950..2050).contains(&time.year()) {
        return Err(outside());
    }
    Ok(time.strftime("%y%m%d%H%M%SZ").to_string())
}

/// Makes signatures with one member's signing key; implemented where the key is kept.
pub trait Signer: Send + Sync {
    /// SHA-256 of the DER of the signing certificate.
    fn certificate_digest(&self) -> Digest;

    /// Signs the attributes: DER of ECDSA-Sig-Value, or the RSA block.
    ///
    /// # Errors
    /// When the key cannot sign, e.g. because a token was removed.
    fn sign(&self, signed_attributes: &[u8]) -> Result<Vec<u8>, SigningFailed>;
}

/// The signing key could not be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the signing key cannot be used: {0}")]
pub struct SigningFailed(pub String);

/// A member's public key, parsed once.
#[derive(Clone)]
pub struct PublicKey {
    parsed: std::sync::Arc<ParsedPublicKey>,
}

impl PublicKey {
    /// An ECDSA P-256 key from its uncompressed point (65 bytes).
    ///
    /// # Errors
    /// When the bytes are no point of the curve.
    pub fn ecdsa_p256(point: &[u8]) -> Result<Self, InvalidKey> {
        Self::parse(&ECDSA_P256_SHA256_ASN1, point)
    }

    /// An RSA key (RFC 8017 RSAPublicKey in DER) of 2048 bits or more, PKCS #1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// When the bytes are no RSA key.
    pub fn rsa(der: &[u8]) -> Result<Self, InvalidKey> {
        Self::parse(&RSA_PKCS1_2048_8192_SHA256, der)
    }

    fn parse(
        algorithm: &'static dyn aws_lc_rs::signature::VerificationAlgorithm,
        bytes: &[u8],
    ) -> Result<Self, InvalidKey> {
        let parsed = ParsedPublicKey::new(algorithm, bytes).map_err(|_| InvalidKey)?;
        Ok(Self {
            parsed: std::sync::Arc::new(parsed),
        })
    }

    /// Verifies a signature; for ECDSA only strict DER is accepted.
    ///
    /// # Errors
    /// `InvalidSignature`.
    pub fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        self.parsed
            .verify_sig(signed, signature)
            .map_err(|_| Refusal::new(Reason::InvalidSignature, "the signature does not verify"))
    }
}

/// The bytes are no public key of the algorithm.
#[derive(Debug, thiserror::Error)]
#[error("not a public key of an algorithm that may sign (ECDSA P-256, or RSA from 2048 bits)")]
pub struct InvalidKey;
