//! The signing keys of the members that this server speaks for.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use certs::{Certificate, FileError, SigningIdentity};
use proto::exchange::TrustMaterial;
use trust::{
    Digest, MemberId, Reason, Refusal,
    signature::{Signer, SigningFailed},
};

use crate::settings::SigningSettings;

/// A member's signing key with its certificate.
pub(crate) struct MemberSigner {
    identity: SigningIdentity,
    digest: Digest,
    material: TrustMaterial,
}

impl MemberSigner {
    fn load(settings: &SigningSettings) -> Result<Self, SignerError> {
        let identity = SigningIdentity::load(&settings.certificate, &settings.key)?;
        let named = identity.certificate.member();
        if *named != settings.member {
            return Err(SignerError::OtherMember {
                configured: settings.member.clone(),
                named: named.clone(),
            });
        }
        let material = TrustMaterial {
            certificate: Bytes::copy_from_slice(identity.certificate.certificate().der()),
            intermediates: identity
                .intermediates
                .iter()
                .map(|der| der.clone().into())
                .collect(),
            ocsp_response: Bytes::new(),
        };
        Ok(Self {
            digest: identity.certificate.digest(),
            identity,
            material,
        })
    }

    /// What a peer needs to verify our signatures.
    pub(crate) const fn material(&self) -> &TrustMaterial {
        &self.material
    }

    /// Whether the certificate is valid at a time, in seconds since 1970 (UTC).
    ///
    /// # Errors
    /// `NoSigningKey`: an expired certificate signs nothing.
    fn check_validity(&self, at: i64) -> Result<(), Refusal> {
        self.identity
            .certificate
            .certificate()
            .valid_at(at)
            .map_err(|error| {
                Refusal::new(
                    Reason::NoSigningKey,
                    format!("our signing certificate: {error}"),
                )
            })
    }
}

impl Signer for MemberSigner {
    fn certificate_digest(&self) -> Digest {
        self.digest
    }

    fn sign(&self, signed_attributes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        self.identity.key.sign(signed_attributes)
    }
}

/// All signing keys, by member.
pub(crate) struct Signers(HashMap<MemberId, Arc<MemberSigner>>);

impl Signers {
    pub(crate) fn load(settings: &[SigningSettings]) -> Result<Self, SignerError> {
        let mut signers = HashMap::new();
        for one in settings {
            signers.insert(one.member.clone(), Arc::new(MemberSigner::load(one)?));
        }
        Ok(Self(signers))
    }

    /// The signing certificate of each member.
    pub(crate) fn certificates<'a>(
        &'a self,
    ) -> impl Iterator<Item = (&'a MemberId, &'a Certificate)> {
        let mut members: Vec<_> = self.0.iter().collect();
        members.sort_by_key(|(member, _)| *member);
        let certificate = |(member, signer): (_, &'a Arc<MemberSigner>)| {
            (member, signer.identity.certificate.certificate())
        };
        members.into_iter().map(certificate)
    }

    /// The key that signs for a member now.
    ///
    /// # Errors
    /// `NoSigningKey` when there is none, or its certificate is not valid.
    pub(crate) fn of(&self, member: &MemberId, at: i64) -> Result<Arc<MemberSigner>, Refusal> {
        let signer = self.0.get(member).ok_or_else(|| {
            Refusal::new(
                Reason::NoSigningKey,
                format!("this server has no signing key for {member}"),
            )
        })?;
        signer.check_validity(at)?;
        Ok(Arc::clone(signer))
    }
}

/// A signing key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate is of another member.
    #[error("[[signing]] is for {configured}, but its certificate names {named}")]
    OtherMember {
        /// As in server.toml.
        configured: MemberId,
        /// As in the certificate.
        named: MemberId,
    },
}
