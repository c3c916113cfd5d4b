//! Detached CAdES signatures as standard files, put together from what a log keeps.
//!
//! Nothing is signed here: the signed attributes are made again from header and content
//! ([`trust::signature::signed_attributes`]), the signature value and the certificate were kept.
//! Standards: CMS (RFC 5652), CAdES baseline B (ETSI EN 319 122-1).

use cms::{
    cert::{CertificateChoices, IssuerAndSerialNumber},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        CertificateSet, EncapsulatedContentInfo, SignedAttributes, SignedData, SignerIdentifier,
        SignerInfo, SignerInfos,
    },
};
use x509_cert::{
    der::{
        Any, Decode, Encode,
        asn1::{OctetString, SetOfVec},
        oid::db::{
            rfc5911::{ID_DATA, ID_SIGNED_DATA},
            rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256, RSA_ENCRYPTION},
        },
    },
    spki::AlgorithmIdentifierOwned,
};

use crate::{
    Certificate, SubjectPublicKey,
    error::{CertificateError, Fault},
};

/// The DER of a detached signature (`.p7s`) with one signer.
///
/// `chain` holds the signer's certificate first, then those between it and the authority.
/// `signed_attributes` are those that were signed, with the tag of a SET OF; `value` is the
/// signature over them. Whether it verifies is not asked.
///
/// # Errors
/// When the key of the signer's certificate cannot sign messages, or its bytes are not DER.
pub fn detached_signature(
    chain: &[Certificate],
    signed_attributes: &[u8],
    value: &[u8],
) -> Result<Vec<u8>, CertificateError> {
    let Some(signer) = chain.first() else {
        return Err(CertificateError::unparsed(
            &[],
            Fault::Malformed("there is no certificate of a signer".into()),
        ));
    };
    let refused = |fault| CertificateError::unparsed(signer.der(), fault);
    let algorithm = match signer.public_key() {
        Some(SubjectPublicKey::EcdsaP256(_)) => AlgorithmIdentifierOwned {
            oid: ECDSA_WITH_SHA_256,
            parameters: None,
        },
        Some(SubjectPublicKey::Rsa(_)) => AlgorithmIdentifierOwned {
            oid: RSA_ENCRYPTION,
            parameters: Some(Any::null()),
        },
        None => {
            let what = format!("the key is {}", signer.key_description());
            return Err(refused(Fault::Malformed(what)));
        }
    };
    encode(chain, algorithm, signed_attributes, value)
        .map_err(|error| refused(Fault::Malformed(error.to_string())))
}

fn encode(
    chain: &[Certificate],
    signature_algorithm: AlgorithmIdentifierOwned,
    signed_attributes: &[u8],
    value: &[u8],
) -> x509_cert::der::Result<Vec<u8>> {
    let parsed = chain
        .iter()
        .map(|certificate| x509_cert::Certificate::from_der(certificate.der()))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(signer) = parsed.first() else {
        return Err(x509_cert::der::ErrorKind::Failed.into());
    };
    let body = &signer.tbs_certificate;
    let sha_256 = AlgorithmIdentifierOwned {
        oid: ID_SHA_256,
        parameters: None,
    };
    let signer_info = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: body.issuer.clone(),
            serial_number: body.serial_number.clone(),
        }),
        digest_alg: sha_256.clone(),
        signed_attrs: Some(SignedAttributes::from_der(signed_attributes)?),
        signature_algorithm,
        signature: OctetString::new(value)?,
        unsigned_attrs: None,
    };
    let certificates = parsed.into_iter().map(CertificateChoices::Certificate);
    let signed_data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::from_iter([sha_256])?,
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: ID_DATA,
            econtent: None,
        },
        certificates: Some(CertificateSet(SetOfVec::from_iter(certificates)?)),
        crls: None,
        signer_infos: SignerInfos(SetOfVec::from_iter([signer_info])?),
    };
    ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: Any::encode_from(&signed_data)?,
    }
    .to_der()
}
