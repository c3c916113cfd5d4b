//! One signature over several messages: a Merkle tree of their digests, whose root is signed.
//!
//! The tree is that of RFC 6962 over the message digests. Each message carries the signature and its
//! own path to the root, so that it can be verified, kept and shown without any other of the batch.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::{
    Digest,
    merkle::{InvalidProof, Side, Tree, climb, leaf_hash, root_of_inclusion},
    refusal::{Reason, Refusal},
    signature::{Signer, SigningFailed, batch_manifest, signed_attributes},
    wire::evidence::{CadesBatchSignature, CadesSignature, Signature, signature::Form},
};

/// The most messages in a batch.
pub const MAX_BATCH: usize = 64;

/// The most seconds that a batch may be signed after one of its messages was made.
pub const MAX_BATCH_DELAY: i64 = 60;

/// A message that waits to be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToSign {
    /// The message digest.
    pub digest: Digest,
    /// `created_at` of its header, seconds since 1970 (UTC).
    pub created_at: i64,
}

/// A signature that was made of the message with this digest.
#[derive(Debug, Clone)]
pub struct MessageSignature {
    pub(crate) digest: Digest,
    pub(crate) signature: Signature,
}

impl MessageSignature {
    /// Whether it was made of this message.
    #[must_use]
    pub fn is_of(&self, message: &ToSign) -> bool {
        self.digest == message.digest
    }

    /// The signature as it travels and is kept.
    #[must_use]
    pub const fn wire(&self) -> &Signature {
        &self.signature
    }
}

/// How many of these messages, from the first on, one batch may hold: it is signed at the newest of
/// their times, and no receiver takes one that was signed long after a message of it was made.
#[must_use]
pub fn fitting(messages: &[ToSign]) -> usize {
    let Some(first) = messages.first() else {
        return 0;
    };
    let (mut oldest, mut newest) = (first.created_at, first.created_at);
    let fits = |message: &&ToSign| {
        oldest = oldest.min(message.created_at);
        newest = newest.max(message.created_at);
        newest.saturating_sub(oldest) <= MAX_BATCH_DELAY
    };
    messages.iter().take(MAX_BATCH).take_while(fits).count()
}

/// Signs messages of one member to one server: alone if there is one, else together. Gives their
/// signatures in order.
///
/// # Errors
/// When the key cannot be used, or there are more than [`fitting`] in a batch.
pub fn sign(
    messages: &[ToSign],
    signer: &dyn Signer,
) -> Result<Vec<MessageSignature>, SigningFailed> {
    match messages {
        [] => Ok(Vec::new()),
        [message] => sign_alone(message, signer).map(|signature| vec![signature]),
        _ if fitting(messages) < messages.len() => Err(SigningFailed(format!(
            "a batch has at most {MAX_BATCH} messages, made within {MAX_BATCH_DELAY} seconds"
        ))),
        _ => sign_batch(messages, signer),
    }
}

fn sign_alone(message: &ToSign, signer: &dyn Signer) -> Result<MessageSignature, SigningFailed> {
    let (value, certificate) = signature_over(&message.digest, message.created_at, signer)?;
    Ok(MessageSignature {
        digest: message.digest,
        signature: Signature {
            form: Some(Form::CadesV1(CadesSignature {
                value,
                signing_time: message.created_at,
                certificate_digest: certificate.to_bytes(),
            })),
        },
    })
}

fn sign_batch(
    messages: &[ToSign],
    signer: &dyn Signer,
) -> Result<Vec<MessageSignature>, SigningFailed> {
    let leaves = messages.iter().map(|message| leaf_of(&message.digest));
    let tree = Tree::new(leaves.collect());
    let signed = Digest::of(batch_manifest(&tree.root()).as_bytes());
    // Not before any of them was made.
    let at = messages.iter().map(|message| message.created_at).max();
    let at = at.unwrap_or_default();
    let (value, certificate) = signature_over(&signed, at, signer)?;
    let certificate = certificate.to_bytes();
    let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
    (0..count)
        .zip(messages)
        .map(|(position, message)| {
            let path = tree.inclusion_proof(position.into());
            let path = path.ok_or_else(|| SigningFailed("a batch without its own leaf".into()))?;
            let batch = CadesBatchSignature {
                value: value.clone(),
                signing_time: at,
                certificate_digest: certificate.clone(),
                count,
                position,
                path: path.into_iter().map(Digest::to_bytes).collect(),
            };
            Ok(MessageSignature {
                digest: message.digest,
                signature: Signature {
                    form: Some(Form::CadesBatchV1(batch)),
                },
            })
        })
        .collect()
}

fn signature_over(
    signed: &Digest,
    at: i64,
    signer: &dyn Signer,
) -> Result<(bytes::Bytes, Digest), SigningFailed> {
    let certificate = signer.certificate_digest();
    let attributes = signed_attributes(at, signed, &certificate)
        .map_err(|refusal| SigningFailed(refusal.explanation))?;
    Ok((signer.sign(&attributes)?.into(), certificate))
}

/// The leaf hash of a message in the tree of its batch.
#[must_use]
pub fn leaf_of(message: &Digest) -> Digest {
    leaf_hash(message.as_bytes())
}

/// Where a message stands in its batch, and the hashes from there to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPath {
    count: u64,
    position: u64,
    path: Vec<Digest>,
}

impl BatchPath {
    /// Parses what stands beside the value of a batch signature.
    ///
    /// # Errors
    /// `MalformedEnvelope`.
    pub(crate) fn parse(signature: &CadesBatchSignature) -> Result<Self, Refusal> {
        let malformed = |what: &str| Refusal::new(Reason::MalformedEnvelope, what);
        if !(2..=MAX_BATCH as u64).contains(&u64::from(signature.count)) {
            return Err(malformed("a batch has two to 64 messages"));
        }
        let path: Option<Vec<_>> = signature
            .path
            .iter()
            .map(|hash| Digest::from_slice(hash))
            .collect();
        let path = path.ok_or_else(|| malformed("a hash of the batch is not 32 bytes"))?;
        let parsed = Self {
            count: signature.count.into(),
            position: signature.position.into(),
            path,
        };
        climb(parsed.position, parsed.count, &parsed.path, |_, _| ())
            .map_err(|_| malformed("the path does not fit the message's position in the batch"))?;
        Ok(parsed)
    }

    /// The root to which the path leads from a message.
    ///
    /// # Errors
    /// When the number of hashes does not fit position and count.
    pub fn root(&self, message: &Digest) -> Result<Digest, InvalidProof> {
        root_of_inclusion(&leaf_of(message), self.position, self.count, &self.path)
    }

    /// The hashes from the message up to the root, each with the side on which it stands.
    ///
    /// # Errors
    /// As [`Self::root`].
    pub fn steps(&self) -> Result<Vec<(Side, Digest)>, InvalidProof> {
        let mut steps = Vec::with_capacity(self.path.len());
        climb(self.position, self.count, &self.path, |side, hash| {
            steps.push((side, *hash));
        })?;
        Ok(steps)
    }
}

/// All that a batch signature says and is: the signed bytes follow from these.
pub(crate) struct SignedBatch<'a> {
    pub(crate) root: Digest,
    pub(crate) signed_at: i64,
    /// Of the certificate, so the key is part of it.
    pub(crate) certificate: Digest,
    pub(crate) value: &'a [u8],
}

impl SignedBatch<'_> {
    fn digest(&self) -> Digest {
        let (root, certificate) = (self.root.as_bytes(), self.certificate.as_bytes());
        Digest::of_parts(&[root, &self.signed_at.to_be_bytes(), certificate, self.value])
    }
}

/// Batch signatures that were verified, so that each is verified once. Bounded: when it is full, the
/// older half is forgotten.
#[derive(Debug, Default)]
pub struct VerifiedBatches {
    newer_and_older: Mutex<[HashSet<Digest>; 2]>,
}

/// How many are remembered before the older ones are forgotten.
const MEMORY: usize = 4096;

impl VerifiedBatches {
    /// Verifies a signature unless it is known to verify.
    pub(crate) fn verify_once(
        &self,
        batch: &SignedBatch<'_>,
        verify: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let signature = batch.digest();
        let known = self.lock().iter().any(|known| known.contains(&signature));
        if !known {
            verify()?;
            let mut memory = self.lock();
            let [newer, older] = &mut *memory;
            if newer.len() >= MEMORY {
                *older = std::mem::take(newer);
            }
            newer.insert(signature);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [HashSet<Digest>; 2]> {
        self.newer_and_older
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
