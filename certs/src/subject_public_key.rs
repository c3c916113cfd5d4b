//! The kinds of public key that signatures of messages are verified with.

use std::fmt;

use trust::signature::PublicKey;
use x509_cert::{
    der::{
        Decode, Reader, SliceReader,
        asn1::UintRef,
        oid::db::{
            rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1},
            rfc8410::ID_ED_25519,
        },
    },
    spki::SubjectPublicKeyInfoOwned,
};

/// A public key as certificates and requests carry it, of a kind that may sign messages.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum SubjectPublicKey {
    /// ECDSA on P-256: the uncompressed point, 65 bytes.
    EcdsaP256(Vec<u8>),
    /// RSA of 2048 to 8192 bits: the DER of an `RSAPublicKey` (PKCS #1).
    Rsa(Vec<u8>),
}

impl SubjectPublicKey {
    /// The key ready to verify with; none if RSA numbers do not form a key.
    #[must_use]
    pub fn verifier(&self) -> Option<PublicKey> {
        match self {
            Self::EcdsaP256(point) => PublicKey::ecdsa_p256(point).ok(),
            Self::Rsa(key) => PublicKey::rsa(key).ok(),
        }
    }
}

impl fmt::Debug for SubjectPublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, bytes) = match self {
            Self::EcdsaP256(point) => ("EcdsaP256", point),
            Self::Rsa(key) => ("Rsa", key),
        };
        write!(formatter, "{kind}({})", hex::encode(bytes))
    }
}

/// The key if we can verify with it, and its kind in words.
pub(crate) fn read(found: &SubjectPublicKeyInfoOwned) -> (Option<SubjectPublicKey>, String) {
    let bytes = found.subject_public_key.as_bytes().unwrap_or_default();
    let parameters = found.algorithm.parameters.as_ref();
    match found.algorithm.oid {
        ID_EC_PUBLIC_KEY => match parameters.and_then(|any| any.decode_as().ok()) {
            Some(SECP_256_R_1) => {
                let valid = bytes.first() == Some(&4) && PublicKey::ecdsa_p256(bytes).is_ok();
                if valid {
                    (
                        Some(SubjectPublicKey::EcdsaP256(bytes.to_vec())),
                        "ECDSA P-256".into(),
                    )
                } else {
                    (
                        None,
                        "ECDSA P-256, but no point in uncompressed form".into(),
                    )
                }
            }
            Some(curve) => (None, format!("ECDSA on curve {curve}")),
            None => (None, "ECDSA on an unnamed curve".into()),
        },
        RSA_ENCRYPTION => match rsa_bits(bytes) {
            Some(bits @ 2048..=8192) => (
                Some(SubjectPublicKey::Rsa(bytes.to_vec())),
                format!("RSA of {bits} bits"),
            ),
            Some(bits) => (None, format!("RSA of {bits} bits")),
            None => (None, "RSA, but malformed".into()),
        },
        ID_ED_25519 => (None, "Ed25519".into()),
        other => (None, format!("of algorithm {other}")),
    }
}

/// The length of the modulus of an `RSAPublicKey`.
fn rsa_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let (modulus, _exponent) = reader
        .sequence(|fields| Ok((UintRef::decode(fields)?, UintRef::decode(fields)?)))
        .ok()?;
    let modulus = reader.is_finished().then_some(modulus)?.as_bytes();
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}
