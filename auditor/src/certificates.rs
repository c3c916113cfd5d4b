//! The signing certificates that a log recorded, and who vouches for them.

use std::collections::HashMap;

use bytes::Bytes;
use certs::{Certificate, TrustedAuthority, vouch};
use trust::{Digest, message::SigningCertificate, wire::configuration::Authority};

use crate::{
    registered::{Proven, ProvenState},
    times::RECORDING_SECONDS,
};

/// The longest chain of intermediate certificates that is followed.
const CHAIN_LIMIT: usize = 4;

/// The certificates of the records read so far, each parsed once.
#[derive(Default)]
pub(crate) struct RecordedCertificates {
    recorded: HashMap<Digest, Recorded>,
    /// Certificates that may stand between a member's and an authority's, by their subject.
    intermediates: HashMap<String, Digest>,
    /// By the digest of the authority's certificate; none when it is no authority's.
    authorities: HashMap<Digest, Option<TrustedAuthority>>,
}

struct Recorded {
    certificate: Certificate,
    /// As vouched for by an authority before; asked again for each time and state.
    vouched: Option<SigningCertificate>,
}

impl RecordedCertificates {
    /// Takes in a recorded certificate.
    pub(crate) fn record(&mut self, der: &[u8]) -> Result<(), String> {
        let certificate = Certificate::parse(der).map_err(|error| error.to_string())?;
        let digest = certificate.digest();
        if certificate.is_authority() {
            self.intermediates
                .entry(certificate.subject().to_owned())
                .or_insert(digest);
        }
        self.recorded.entry(digest).or_insert(Recorded {
            certificate,
            vouched: None,
        });
        Ok(())
    }

    /// The certificate that a signature names, if an authority that `state` approves for signing
    /// vouches for it when it signed, and still when the message was recorded.
    pub(crate) fn vouched(
        &mut self,
        digest: Digest,
        state: &ProvenState,
        signed_at: i64,
        recorded_at: i64,
    ) -> Result<Proven<SigningCertificate>, String> {
        let vouched = self.vouched_at(digest, state, signed_at)?;
        if let Proven::Value(certificate) = &vouched
            && certificate.not_after < recorded_at.saturating_sub(RECORDING_SECONDS)
        {
            return Err(format!(
                "the certificate of {} had expired when the message was recorded",
                certificate.member
            ));
        }
        Ok(vouched)
    }

    fn vouched_at(
        &mut self,
        digest: Digest,
        state: &ProvenState,
        signed_at: i64,
    ) -> Result<Proven<SigningCertificate>, String> {
        let approved = self.approved(state);
        let found = self
            .recorded
            .get(&digest)
            .ok_or_else(|| format!("its signing certificate {digest} is not recorded before it"))?;
        if let Some(facts) = &found.vouched
            && approved
                .authorities
                .iter()
                .any(|known| known.digest() == facts.authority)
            && (facts.not_before..=facts.not_after).contains(&signed_at)
        {
            return Ok(Proven::Value(facts.clone()));
        }
        let chain = self.chain(&found.certificate);
        let der = Bytes::copy_from_slice(found.certificate.der());
        match vouch(&der, &chain, &approved.authorities, signed_at) {
            Ok(vouched) => {
                let facts = SigningCertificate::from(&vouched);
                if let Some(found) = self.recorded.get_mut(&digest) {
                    found.vouched = Some(facts.clone());
                }
                Ok(Proven::Value(facts))
            }
            // The authority may be the one whose proof failed.
            Err(_) if approved.incomplete => Ok(Proven::Unknown),
            Err(error) => Err(format!(
                "no approved authority vouches for its signer: {error}"
            )),
        }
    }

    /// The authorities that are proven to be approved for signing.
    fn approved(&mut self, state: &ProvenState) -> Approved {
        let mut approved = Approved {
            authorities: Vec::new(),
            incomplete: false,
        };
        for authority in state.authorities() {
            match authority {
                Proven::Value(authority) if authority.signing => {
                    approved.authorities.extend(self.authority(&authority));
                }
                Proven::Value(_) | Proven::Nothing => {}
                Proven::Unknown => approved.incomplete = true,
            }
        }
        approved
    }

    fn authority(&mut self, authority: &Authority) -> Option<TrustedAuthority> {
        let der = &authority.certificate;
        self.authorities
            .entry(Digest::of(der))
            .or_insert_with(|| TrustedAuthority::parse(der).ok())
            .clone()
    }

    /// The recorded certificates above one, by the names of their issuers.
    fn chain(&self, certificate: &Certificate) -> Vec<Bytes> {
        let mut chain: Vec<Bytes> = Vec::new();
        let mut issuer = certificate.issuer();
        while chain.len() < CHAIN_LIMIT
            && let Some(above) = self.intermediates.get(issuer)
            && let Some(found) = self.recorded.get(above)
            && found.certificate.issuer() != issuer
        {
            chain.push(Bytes::copy_from_slice(found.certificate.der()));
            issuer = found.certificate.issuer();
        }
        chain
    }
}

struct Approved {
    authorities: Vec<TrustedAuthority>,
    /// Some authority's proof did not hold.
    incomplete: bool,
}
