//! One message: made and signed here, or received, parsed and verified.

use bytes::Bytes;

use crate::{
    Digest, MemberId,
    batch::{
        self, BatchPath, MAX_BATCH_DELAY, MessageSignature, SignedBatch, ToSign, VerifiedBatches,
    },
    content::Content,
    header::Header,
    refusal::{Reason, Refusal},
    signature::{
        PublicKey, SIGNED_ATTRIBUTES_LENGTH, Signer, SigningFailed, batch_manifest, manifest,
        message_digest, signed_attributes,
    },
    wire::evidence::{Envelope, Signature, signature::Form},
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

/// A message of this server that is not signed yet.
pub struct UnsignedMessage {
    header: Header,
    header_bytes: Bytes,
    content: Content,
    digest: Digest,
}

impl UnsignedMessage {
    /// Encodes header and content, which are never encoded again. `header.content_digest` is
    /// computed here.
    #[must_use]
    pub fn new(mut header: Header, content: Content) -> Self {
        header.content_digest = content.digest();
        let header_bytes = header.encode();
        let digest = message_digest(
            header.direction,
            header.sequence,
            &Digest::of(&header_bytes),
            &header.content_digest,
        );
        Self {
            header,
            header_bytes,
            content,
            digest,
        }
    }

    /// What is to be signed.
    #[must_use]
    pub const fn to_sign(&self) -> ToSign {
        ToSign {
            digest: self.digest,
            created_at: self.header.created_at,
        }
    }

    /// The message with the signature that was made of it.
    ///
    /// # Errors
    /// When it was made of another message.
    pub fn signed(self, made: MessageSignature) -> Result<SignedMessage, SigningFailed> {
        if !made.is_of(&self.to_sign()) {
            return Err(SigningFailed("it has signed another message".to_owned()));
        }
        Ok(SignedMessage {
            header: self.header,
            header_bytes: self.header_bytes,
            content: self.content,
            signature: made.signature,
            digest: self.digest,
        })
    }
}

impl SignedMessage {
    /// Signs a message alone. `created_at` of its header is the signing time.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn sign(
        header: Header,
        content: Content,
        signer: &dyn Signer,
    ) -> Result<Self, SigningFailed> {
        let message = UnsignedMessage::new(header, content);
        let made = batch::sign(&[message.to_sign()], signer)?.pop();
        message.signed(made.ok_or_else(|| SigningFailed("it has signed nothing".to_owned()))?)
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

/// The certificate that a signature names; none when it has no form or no digest.
#[must_use]
pub fn signing_certificate(signature: &Signature) -> Option<Digest> {
    let digest = match signature.form.as_ref()? {
        Form::CadesV1(cades) => &cades.certificate_digest,
        Form::CadesBatchV1(batch) => &batch.certificate_digest,
    };
    Digest::from_slice(digest)
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
    pub fn verify(
        self,
        certificate: &SigningCertificate,
        batches: &VerifiedBatches,
    ) -> Result<SignedMessage, Refusal> {
        let digest = self.kept.verify(certificate, batches)?;
        if self.kept.header.refusal_code.is_some() {
            self.content.check_refusal()?;
        }
        Ok(SignedMessage {
            header: self.kept.header,
            header_bytes: self.kept.header_bytes,
            content: self.content,
            signature: self.kept.signature,
            digest,
        })
    }
}

/// Header and signature of a message, as a log keeps them when the content is gone.
#[derive(Clone)]
pub struct KeptMessage {
    header: Header,
    header_bytes: Bytes,
    signature: Signature,
    certificate_digest: Digest,
    signed_at: i64,
    /// The way to what was signed, unless this message was signed alone.
    batch: Option<BatchPath>,
    /// The message digest.
    digest: Digest,
    /// Whether the signature is known to verify with the key of the certificate it names.
    is_verified: bool,
}

impl KeptMessage {
    /// Parses a header and its signature.
    ///
    /// # Errors
    /// `MalformedEnvelope` naming what is wrong.
    pub fn parse(header_bytes: Bytes, signature: Option<Signature>) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(Reason::MalformedEnvelope, what);
        let header = Header::parse(&header_bytes)?;
        let signature = signature.ok_or_else(|| malformed("the envelope has no signature"))?;
        let certificate_digest = signing_certificate(&signature);
        let (signed_at, latest, batch) = match &signature.form {
            Some(Form::CadesV1(alone)) => (alone.signing_time, 0, None),
            Some(Form::CadesBatchV1(batch)) => {
                let path = BatchPath::parse(batch)?;
                (batch.signing_time, MAX_BATCH_DELAY, Some(path))
            }
            None => return Err(malformed("the envelope has no signature")),
        };
        let delay = signed_at.checked_sub(header.created_at);
        if !delay.is_some_and(|delay| (0..=latest).contains(&delay)) {
            return Err(malformed(if batch.is_some() {
                "the batch was signed before the header's created_at, or more than 60 seconds after"
            } else {
                "the signing time differs from the header's created_at"
            }));
        }
        let digest = message_digest(
            header.direction,
            header.sequence,
            &Digest::of(&header_bytes),
            &header.content_digest,
        );
        Ok(Self {
            header,
            header_bytes,
            certificate_digest: certificate_digest
                .ok_or_else(|| malformed("the certificate digest is not 32 bytes"))?,
            signature,
            signed_at,
            batch,
            digest,
            is_verified: false,
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

    /// The bare signature value.
    #[must_use]
    pub fn signature_value(&self) -> &[u8] {
        signature_value(&self.signature)
    }

    /// When it was signed, in seconds since 1970 (UTC), as its signer says.
    #[must_use]
    pub const fn signed_at(&self) -> i64 {
        self.signed_at
    }

    /// The way to the root of its batch, unless it was signed alone.
    #[must_use]
    pub const fn batch(&self) -> Option<&BatchPath> {
        self.batch.as_ref()
    }

    /// The manifest of the message: what its digest is made of, and what was signed unless it was
    /// signed in a batch.
    #[must_use]
    pub fn manifest(&self) -> String {
        manifest(
            self.header.direction,
            self.header.sequence,
            &Digest::of(&self.header_bytes),
            &self.header.content_digest,
        )
    }

    /// The message digest, computed from header and content digest.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The DER `SignedAttributes` that were signed if the signature is good.
    ///
    /// # Errors
    /// `MalformedEnvelope` when the time is none that can be signed.
    pub fn signed_attributes(&self) -> Result<[u8; SIGNED_ATTRIBUTES_LENGTH], Refusal> {
        match self.root()? {
            None => self.attributes_over(&self.digest),
            Some(root) => self.attributes_of_batch(&root),
        }
    }

    /// The root of its batch, unless it was signed alone.
    fn root(&self) -> Result<Option<Digest>, Refusal> {
        let root = self.batch.as_ref().map(|path| path.root(&self.digest));
        root.transpose()
            .map_err(|error| Refusal::new(Reason::MalformedEnvelope, format!("the batch: {error}")))
    }

    fn attributes_of_batch(
        &self,
        root: &Digest,
    ) -> Result<[u8; SIGNED_ATTRIBUTES_LENGTH], Refusal> {
        self.attributes_over(&Digest::of(batch_manifest(root).as_bytes()))
    }

    fn attributes_over(&self, signed: &Digest) -> Result<[u8; SIGNED_ATTRIBUTES_LENGTH], Refusal> {
        signed_attributes(self.signed_at, signed, &self.certificate_digest)
    }

    /// Verifies the signature before it is known whether its certificate may be used: if it is good,
    /// [`Self::verify`] need not do it again. Nothing follows from it alone.
    pub fn verify_ahead(&mut self, certificate: &SigningCertificate, batches: &VerifiedBatches) {
        self.is_verified = self.certificate_digest == certificate.digest
            && self.verify_value(certificate, batches).is_ok();
    }

    /// Verifies the signature with the certificate it names, which must have been valid at the
    /// signing time, and gives the message digest. Says nothing about who may speak for whom.
    /// The signature of a batch is verified once, as `batches` remember.
    ///
    /// # Errors
    /// `UnknownCertificate`, `ExpiredCertificate` or `InvalidSignature`.
    pub fn verify(
        &self,
        certificate: &SigningCertificate,
        batches: &VerifiedBatches,
    ) -> Result<Digest, Refusal> {
        if self.certificate_digest != certificate.digest {
            return Err(Refusal::new(
                Reason::UnknownCertificate,
                "the signature names another certificate",
            ));
        }
        if !(certificate.not_before..=certificate.not_after).contains(&self.signed_at) {
            return Err(Refusal::new(
                Reason::ExpiredCertificate,
                format!(
                    "the certificate of {} was not valid when it signed",
                    certificate.member
                ),
            ));
        }
        if !self.is_verified {
            self.verify_value(certificate, batches)?;
        }
        Ok(self.digest)
    }

    fn verify_value(
        &self,
        certificate: &SigningCertificate,
        batches: &VerifiedBatches,
    ) -> Result<(), Refusal> {
        let value = self.signature_value();
        let verify = |attributes: &[u8]| certificate.public_key.verify(attributes, value);
        let Some(root) = self.root()? else {
            return verify(&self.attributes_over(&self.digest)?);
        };
        let batch = SignedBatch {
            root,
            signed_at: self.signed_at,
            certificate: self.certificate_digest,
            value,
        };
        batches.verify_once(&batch, || verify(&self.attributes_of_batch(&root)?))
    }
}
