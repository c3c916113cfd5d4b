//! The signers of the vectors.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use prost::bytes::Bytes;
use serde_json::Value;
use trust::{
    Digest,
    message::SigningCertificate,
    signature::{PublicKey, Signer, SigningFailed},
};

use super::{fields, vectors};

/// The certificate of a signer of `keys.json`.
pub fn certificate_of(signer: &str) -> SigningCertificate {
    let keys = vectors::read("keys");
    VectorSigner::certificate(&keys["signers"][signer], &keys, signer)
}

/// A signer of `keys.json`; signs anew only while vectors are written.
pub struct VectorSigner<'a> {
    pub keys: &'a Value,
    /// The signature that was made when the vectors were written.
    pub value: Option<Bytes>,
}

impl<'a> VectorSigner<'a> {
    pub fn certificate(keys: &'a Value, file: &Value, member: &str) -> SigningCertificate {
        let public_key = fields::bytes(&keys["public_key"]);
        SigningCertificate {
            digest: Digest::of(&fields::bytes(&keys["certificate"])),
            member: member.parse().unwrap(),
            authority: Digest::of(&fields::bytes(&file["authority"])),
            not_before: keys["not_before"].as_i64().unwrap(),
            not_after: keys["not_after"].as_i64().unwrap(),
            public_key: if is_rsa(keys) {
                PublicKey::rsa(&public_key).unwrap()
            } else {
                PublicKey::ecdsa_p256(&public_key).unwrap()
            },
        }
    }
}

fn is_rsa(keys: &Value) -> bool {
    keys["algorithm"] == "RSA 2048"
}

impl Signer for VectorSigner<'_> {
    fn certificate_digest(&self) -> Digest {
        Digest::of(&fields::bytes(&self.keys["certificate"]))
    }

    fn sign(&self, attributes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        if let Some(value) = &self.value {
            return Ok(value.to_vec());
        }
        let random = SystemRandom::new();
        let key = fields::bytes(&self.keys["private_key"]);
        if is_rsa(self.keys) {
            let key = RsaKeyPair::from_pkcs8(&key).unwrap();
            let mut value = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, attributes, &mut value)
                .unwrap();
            return Ok(value);
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
        Ok(key.sign(&random, attributes).unwrap().as_ref().to_vec())
    }
}
