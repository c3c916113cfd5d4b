//! One message: made and signed here, or received, parsed and verified.

use bytes::Bytes;

use crate::{
    Digest, MemberId,
    content::Content,
    header::Header,
    refusal::{Reason, Refusal},
    signature::{PublicKey, Signer, SigningFailed, message_digest, signed_attributes},
    wire::evidence::{CadesSignature, Envelope, Signature, signature::Form},
};

/// What a vouched signing certificate says, as far as the rules need it.
#[derive(Clone)]
pub struct SigningCertificate {
    /// SHA-256 of its DER.
    pub digest: Digest,
    /// The member it names.
    pub member: MemberId,
    /// SHA-256 of the DER of the authority that vouches for it.
    pub authority: Digest,
    /// Seconds since 1970 (UTC), both inclusive.
    pub not_before: i64,
    /// See `not_before`.
    pub not_after: i64,
    /// The key.
    pub public_key: PublicKey,
}

/// A message with a signature that is known to be good: made here, or verified.
#[derive(Clone)]
pub struct SignedMessage {
    header: Header,
    header_bytes: Bytes,
    content: Content,
    signature: Signature,
    digest: Digest,
}

impl SignedMessage {
    /// Signs a message of this server. `header.content_digest` and `created_at` are what is signed.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(
        mut header: Header,
        content: Content,
        signer: &dyn Signer,
    ) -> Result<Self, SigningFailed> {
        header.content_digest = content.digest();
        let header_bytes = header.encode();
        let digest = message_digest(
            header.direction,
            header.sequence,
            &Digest::of(&header_bytes),
            &content.digest(),
        );
        let certificate = signer.certificate_digest();
        let attributes = signed_attributes(header.created_at, &digest, &certificate)
            .map_err(|refusal| SigningFailed(refusal.explanation))?;
        let signature = CadesSignature {
            value: signer.sign(&attributes)?.into(),
            signing_time: header.created_at,
            certificate_digest: certificate.to_bytes(),
        };
        let signature = Signature {
            form: Some(Form::CadesV1(signature)),
        };
        Ok(Self {
            header,
            header_bytes,
            content,
            signature,
            digest,
        })
    }

    /// The parsed header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The header as signed.
    #[must_use]
    pub const fn header_bytes(&self) -> &Bytes {
        &self.header_bytes
    }

    /// The content as signed.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The message digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The signature as it travels and is kept.
    #[must_use]
    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The bare signature value, whose SHA-256 is part of the leaf.
    #[must_use]
    pub fn signature_value(&self) -> &[u8] {
        signature_value(&self.signature)
    }

    /// The message as it travels.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            header: self.header_bytes.clone(),
            signature: Some(self.signature.clone()),
            content: self.content.bytes().clone(),
        }
    }
}

/// The bare value of a signature; empty when it has no form.
#[must_use]
pub fn signature_value(signature: &Signature) -> &[u8] {
    match &signature.form {
        Some(Form::CadesV1(cades)) => &cades.value,
        Some(Form::CadesBatchV1(batch)) => &batch.value,
        None => &[],
    }
}

/// A message that was parsed and not verified: good for routing an error, for nothing else.
#[derive(Clone)]
pub struct UnverifiedMessage {
    kept: KeptMessage,
    content: Content,
}

impl UnverifiedMessage {
    /// Parses an envelope.
    ///
    /// # Errors
    /// `MalformedEnvelope` naming what is wrong; `ContentMismatch` when the content is not the one
    /// that the header names.
    pub fn parse(envelope: Envelope) -> Result<Self, Refusal> {
        let kept = KeptMessage::parse(envelope.header, envelope.signature)?;
        let content = Content::received(envelope.content);
        if content.digest() != kept.header.content_digest {
            return Err(Refusal::new(
                Reason::ContentMismatch,
                "the content is not the one that the header names",
            ));
        }
        Ok(Self { kept, content })
    }

    /// The header, which nobody has vouched for yet.
    #[must_use]
    pub const fn claimed_header(&self) -> &Header {
        &self.kept.header
    }

    /// Digest of the certificate that the signature names.
    #[must_use]
    pub const fn certificate_digest(&self) -> Digest {
        self.kept.certificate_digest
    }

    /// Verifies the signature; see [`KeptMessage::verify`]. Then asks what only the content tells:
    /// a refusal, which others may sign and whose content nobody keeps, carries a status alone.
    ///
    /// # Errors
    /// `UnknownCertificate`, `ExpiredCertificate`, `InvalidSignature` or `MalformedEnvelope`.
    pub fn verify(self, certificate: &SigningCertificate) -> Result<SignedMessage, Refusal> {
        let digest = self.kept.verify(certificate)?;
        if self.kept.header.refusal_code.is_some() {
            self.content.check_refusal()?;
        }
        Ok(SignedMessage {
            header: self.kept.header,
            header_bytes: self.kept.header_bytes,
            content: self.content,
            signature: Signature {
                form: Some(Form::CadesV1(self.kept.signature)),
            },
            digest,
        })
    }
}

/// Header and signature of a message, as a log keeps them when the content is gone.
#[derive(Clone)]
pub struct KeptMessage {
    header: Header,
    header_bytes: Bytes,
    signature: CadesSignature,
    certificate_digest: Digest,
}

impl KeptMessage {
    /// Parses a header and its signature.
    ///
    /// # Errors
    /// `MalformedEnvelope` naming what is wrong.
    pub fn parse(header_bytes: Bytes, signature: Option<Signature>) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(Reason::MalformedEnvelope, what);
        let header = Header::parse(&header_bytes)?;
        let signature = match signature.and_then(|signature| signature.form) {
            Some(Form::CadesV1(cades)) => cades,
            Some(Form::CadesBatchV1(_)) => {
                return Err(malformed(
                    "batch signatures are not accepted by this version",
                ));
            }
            None => return Err(malformed("the envelope has no signature")),
        };
        if signature.signing_time != header.created_at {
            return Err(malformed(
                "the signing time differs from the header's created_at",
            ));
        }
        let certificate_digest = Digest::from_slice(&signature.certificate_digest)
            .ok_or_else(|| malformed("the certificate digest is not 32 bytes"))?;
        Ok(Self {
            header,
            header_bytes,
            signature,
            certificate_digest,
        })
    }

    /// The parsed header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Digest of the certificate that the signature names.
    #[must_use]
    pub const fn certificate_digest(&self) -> Digest {
        self.certificate_digest
    }

    /// The message digest, recomputed from the manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        message_digest(
            self.header.direction,
            self.header.sequence,
            &Digest::of(&self.header_bytes),
            &self.header.content_digest,
        )
    }

    /// Verifies the signature with the certificate it names, which must have been valid at the
    /// signing time, and gives the message digest. Says nothing about who may speak for whom.
    ///
    /// # Errors
    /// `UnknownCertificate`, `ExpiredCertificate` or `InvalidSignature`.
    pub fn verify(&self, certificate: &SigningCertificate) -> Result<Digest, Refusal> {
        if self.certificate_digest != certificate.digest {
            return Err(Refusal::new(
                Reason::UnknownCertificate,
                "the signature names another certificate",
            ));
        }
        let signed_at = self.signature.signing_time;
        if !(certificate.not_before..=certificate.not_after).contains(&signed_at) {
            return Err(Refusal::new(
                Reason::ExpiredCertificate,
                format!(
                    "the certificate of {} was not valid when it signed",
                    certificate.member
                ),
            ));
        }
        let digest = self.digest();
        let attributes = signed_attributes(signed_at, &digest, &certificate.digest)?;
        certificate
            .public_key
            .verify(&attributes, &self.signature.value)?;
        Ok(digest)
    }
}
