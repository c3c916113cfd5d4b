//! The signing certificates that a log recorded, and who vouches for them.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use certs::{Certificate, MAXIMUM_PATH, TrustedAuthority, vouch};
use trust::{Digest, message::SigningCertificate, wire::configuration::Authority};

use crate::{
    registered::{Proven, ProvenState},
    times::RECORDING_SECONDS,
};

/// The most certificates of one subject that are tried: the newest of them.
const OF_ONE_SUBJECT: usize = 4;
/// The most chains that are tried for one certificate.
const CHAINS: usize = 16;

/// The certificates of the records read so far, each parsed once.
#[derive(Default)]
pub(crate) struct RecordedCertificates {
    recorded: HashMap<Digest, Certificate>,
    vouched: Arc<VouchedCertificates>,
    /// Certificates that may stand between a member's and an authority's, by their subject; of
    /// one subject in the order in which they were recorded.
    intermediates: HashMap<String, Vec<Digest>>,
    /// By the digest of the authority's certificate; none when it is no authority's.
    authorities: HashMap<Digest, Option<TrustedAuthority>>,
}

/// The certificates that an authority has vouched for so far, by their digests; whether one still
/// does is asked again for each time and state.
#[derive(Default)]
pub(crate) struct VouchedCertificates(RwLock<HashMap<Digest, SigningCertificate>>);

impl VouchedCertificates {
    pub(crate) fn get(&self, digest: &Digest) -> Option<SigningCertificate> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(digest).cloned()
    }

    fn keep(&self, certificate: SigningCertificate) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(certificate.digest, certificate);
    }
}

impl RecordedCertificates {
    /// Those that were vouched for, also while more are.
    pub(crate) const fn vouched_so_far(&self) -> &Arc<VouchedCertificates> {
        &self.vouched
    }

    /// Takes in a recorded certificate.
    pub(crate) fn record(&mut self, der: &[u8]) -> Result<(), String> {
        let certificate = Certificate::parse(der).map_err(|error| error.to_string())?;
        let digest = certificate.digest();
        // One that issued itself leads to no other.
        if certificate.is_authority() && certificate.issuer() != certificate.subject() {
            let subject = certificate.subject().to_owned();
            let same = self.intermediates.entry(subject).or_default();
            if !same.contains(&digest) {
                same.push(digest);
            }
            if same.len() > OF_ONE_SUBJECT {
                same.remove(0);
            }
        }
        self.recorded.entry(digest).or_insert(certificate);
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
        if let Some(facts) = self.vouched.get(&digest)
            && approved
                .authorities
                .iter()
                .any(|known| known.digest() == facts.authority)
            && (facts.not_before..=facts.not_after).contains(&signed_at)
        {
            return Ok(Proven::Value(facts));
        }
        let der = found.der();
        let mut vouched = vouch::<&[u8]>(der, &[], &approved.authorities, signed_at);
        for chain in self.chains(found).skip(1) {
            if vouched.is_ok() {
                break;
            }
            vouched = vouch(der, &chain, &approved.authorities, signed_at);
        }
        match vouched {
            Ok(vouched) => {
                let facts = SigningCertificate::from(&vouched);
                self.vouched.keep(facts.clone());
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

    /// The chains of recorded certificates above one, by the names of their issuers: the shortest
    /// first, and of one length those of certificates that were recorded last.
    fn chains<'a>(&'a self, certificate: &'a Certificate) -> impl Iterator<Item = Vec<&'a [u8]>> {
        let mut chains = vec![(certificate.issuer(), Vec::new())];
        let mut reached = 0;
        while let Some((issuer, chain)) = chains.get(reached).cloned() {
            reached += 1;
            let above = self.intermediates.get(issuer).into_iter().flatten();
            let above = above.rev().filter_map(|digest| self.recorded.get(digest));
            for above in above {
                let room = chains.len() < CHAINS && chain.len() < MAXIMUM_PATH;
                if room && !chain.contains(&above.der()) {
                    chains.push((above.issuer(), [&chain[..], &[above.der()]].concat()));
                }
            }
        }
        chains.into_iter().map(|(_, chain)| chain)
    }
}

struct Approved {
    authorities: Vec<TrustedAuthority>,
    /// Some authority's proof did not hold.
    incomplete: bool,
}
