//! Detached CAdES signatures as standard files, put together from what a log keeps.
//!
//! Nothing is signed here: the signed attributes are made again from header and content
//! ([`trust::signature::signed_attributes`]), the signature value and the certificate were kept.
//! Standards: CMS (RFC 5652), CAdES baseline B (ETSI EN 319 122-1).

use cms::{
    cert::IssuerAndSerialNumber,
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        EncapsulatedContentInfo, SignedAttributes, SignerIdentifier, SignerInfo, SignerInfos,
    },
};
use x509_cert::{
    der::{
        Any, Decode, Encode, Tag,
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

/// The tag `[0]`, constructed.
const IMPLICIT_0: u8 = 0xa0;

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
    encode(signer, chain, algorithm, signed_attributes, value)
        .map_err(|error| refused(Fault::Malformed(error.to_string())))
}

fn encode(
    signer: &Certificate,
    chain: &[Certificate],
    signature_algorithm: AlgorithmIdentifierOwned,
    signed_attributes: &[u8],
    value: &[u8],
) -> x509_cert::der::Result<Vec<u8>> {
    let signer = x509_cert::Certificate::from_der(signer.der())?;
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
    let content = EncapsulatedContentInfo {
        econtent_type: ID_DATA,
        econtent: None,
    };
    // SignedData, RFC 5652 section 5.1.
    let signed_data = [
        CmsVersion::V1.to_der()?,
        SetOfVec::from_iter([sha_256])?.to_der()?,
        content.to_der()?,
        certificate_set(chain)?,
        SignerInfos(SetOfVec::from_iter([signer_info])?).to_der()?,
    ];
    ContentInfo {
        content_type: ID_SIGNED_DATA,
        content: Any::new(Tag::Sequence, signed_data.concat())?,
    }
    .to_der()
}

/// `[0] IMPLICIT CertificateSet`, of the certificates as they are: encoded anew, one that is not
/// quite DER would have another digest.
fn certificate_set(chain: &[Certificate]) -> x509_cert::der::Result<Vec<u8>> {
    let certificates = chain
        .iter()
        .map(|certificate| Any::from_der(certificate.der()))
        .collect::<Result<Vec<_>, _>>()?;
    let mut set = SetOfVec::from_iter(certificates)?.to_der()?;
    if let Some(tag) = set.first_mut() {
        *tag = IMPLICIT_0;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use trust::{Digest, signature::signed_attributes};

    use super::*;
    use crate::{Role, TestAuthority, Validity};

    /// As some authorities write them: with a default value, which DER leaves out. What was signed
    /// and is named by its digest is these bytes and no others.
    #[test]
    fn a_certificate_goes_in_as_it_is_also_when_it_is_not_quite_der() {
        let now = 1_800_000_000;
        let authority = TestAuthority::create("Test authority", Validity::of(Role::Authority, now));
        let der = authority.unwrap().certificate().der().to_vec();
        let usage_critical = [0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff];
        let at = der.windows(6).position(|bytes| bytes == usage_critical);
        let mut not_critical = der;
        not_critical[at.unwrap() + 5] = 0;
        let certificate = Certificate::parse(&not_critical).unwrap();
        let attributes = signed_attributes(now, &Digest::of(b"message"), &certificate.digest());
        let cms = detached_signature(&[certificate], &attributes.unwrap(), &[7; 70]).unwrap();
        let holds = |part: &[u8]| cms.windows(part.len()).any(|window| window == part);
        assert!(holds(&not_critical));
    }
}
