//! Signing certificates of others, parsed and vouched for once, by digest.

use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use certs::{Fault, vouch};
use proto::exchange::TrustMaterial;
use trust::{Digest, Reason, Refusal, message::SigningCertificate};

use crate::snapshot::Snapshot;

/// The most one certificate may measure.
const CERTIFICATE_LIMIT: usize = 64 * 1024;

/// How many are remembered, so that they are not vouched for again; beyond, all are forgotten.
const MEMORY_LIMIT: usize = 4096;

/// A signing certificate that an authority vouches for, with its bytes for the log.
#[derive(Clone)]
pub(crate) struct KnownCertificate {
    /// What the rules need.
    pub(crate) facts: SigningCertificate,
    /// DER of it, then of the certificates that lead from it to the authority.
    pub(crate) chain: Vec<Bytes>,
}

/// The certificates seen so far.
#[derive(Default)]
pub(crate) struct Certificates {
    known: Mutex<HashMap<Digest, KnownCertificate>>,
}

impl Certificates {
    /// Takes trust material from a peer; what does not verify is refused by name.
    ///
    /// # Errors
    /// `InvalidCertificate` or `ExpiredCertificate`.
    pub(crate) fn learn(
        &self,
        material: &TrustMaterial,
        snapshot: &Snapshot,
        at: i64,
    ) -> Result<KnownCertificate, Refusal> {
        let der = &material.certificate;
        let total: usize = material.intermediates.iter().map(Bytes::len).sum();
        if der.len() + total > CERTIFICATE_LIMIT {
            return Err(Refusal::new(
                Reason::InvalidCertificate,
                "the signing certificate and its chain are larger than 64 KiB",
            ));
        }
        let digest = Digest::of(der);
        let authorities = snapshot.signing_authorities();
        let still_vouched = |known: &KnownCertificate| {
            let facts = &known.facts;
            (facts.not_before..=facts.not_after).contains(&at)
                && authorities
                    .iter()
                    .any(|authority| authority.certificate().digest() == facts.authority)
        };
        if let Some(known) = self.find(&digest).filter(still_vouched) {
            return Ok(known);
        }
        let vouched = vouch(der, &material.intermediates, authorities, at).map_err(|error| {
            let reason = match error.fault {
                Fault::Expired(_) | Fault::NotValidYet(_) => Reason::ExpiredCertificate,
                _ => Reason::InvalidCertificate,
            };
            Refusal::new(reason, error.to_string())
        })?;
        // What else was sent with it is nothing that we would vouch for by keeping it.
        let between = vouched.between().map(Bytes::copy_from_slice);
        let chain = std::iter::once(der.clone()).chain(between).collect();
        let known = KnownCertificate {
            facts: (&vouched).into(),
            chain,
        };
        let mut memory = self.lock();
        if memory.len() >= MEMORY_LIMIT {
            memory.clear();
        }
        memory.insert(digest, known.clone());
        Ok(known)
    }

    /// Our own certificate, which must be as good as any other.
    ///
    /// # Errors
    /// `NoSigningKey` when no approved authority vouches for it.
    pub(crate) fn own(
        &self,
        material: &TrustMaterial,
        snapshot: &Snapshot,
        at: i64,
    ) -> Result<KnownCertificate, Refusal> {
        self.learn(material, snapshot, at).map_err(|refusal| {
            let why = refusal.explanation;
            Refusal::new(Reason::NoSigningKey, format!("our certificate: {why}"))
        })
    }

    /// A certificate by its digest.
    fn find(&self, digest: &Digest) -> Option<KnownCertificate> {
        self.lock().get(digest).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, KnownCertificate>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
