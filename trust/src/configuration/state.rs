//! The state: the fold of all changes, its root, and proofs that a key has a value.

mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use bytes::Bytes;
use prost::Message;

use super::{StateKey, invalid};
use crate::{
    Digest, InstanceId, ServerId,
    merkle::{self, Tree},
    refusal::Refusal,
    wire::{
        configuration::{self as wire, Change, ChangeSet, Changes},
        evidence::Membership,
    },
};

/// The most an encoded entry of the registry's log may measure.
pub const ENTRY_LIMIT: usize = 60 * 1024;

/// What stands before the change set in the bytes that an officer signs.
pub const OFFICER_SIGNATURE_CONTEXT: &[u8] = b"lienthong.officer-decision.v1\n";

/// Why a set of changes cannot be applied. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RejectedChange {
    /// Key or value is not what it must be.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key as given.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The change set as a whole.
    #[error("{0}")]
    ChangeSet(String),
}

/// The leaf of one pair: key length (two bytes, big-endian), key, SHA-256 of the value.
#[must_use]
pub fn pair_leaf(key: &str, value: &[u8]) -> Digest {
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes();
    let value = Digest::of(value);
    merkle::leaf_hash(&[&length, key.as_bytes(), value.as_bytes()].concat())
}

/// Verifies that `membership` holds under the state root it names.
///
/// # Errors
/// `InvalidConfiguration` when the proof does not lead to the root.
pub fn verify_membership(membership: &Membership) -> Result<(), Refusal> {
    let malformed = || {
        invalid(format!(
            "the membership proof of {} is malformed",
            membership.key
        ))
    };
    let root = Digest::from_slice(&membership.state_root).ok_or_else(malformed)?;
    let proof = membership.proof.iter().map(|hash| Digest::from_slice(hash));
    let proof: Vec<Digest> = proof.collect::<Option<_>>().ok_or_else(malformed)?;
    let leaf = pair_leaf(&membership.key, &membership.value);
    merkle::verify_inclusion(&leaf, membership.index, membership.size, &proof, &root).map_err(
        |_| {
            invalid(format!(
                "{} is not in the state that was published",
                membership.key
            ))
        },
    )
}

/// Changes that were applied, with what stood there before.
#[derive(Debug)]
pub struct Applied(Vec<(String, Option<Bytes>)>);

/// All keys with their values, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    instance: InstanceId,
    pairs: BTreeMap<String, Bytes>,
}

impl State {
    /// The empty state of an instance.
    #[must_use]
    pub const fn empty(instance: InstanceId) -> Self {
        Self {
            instance,
            pairs: BTreeMap::new(),
        }
    }

    /// The instance.
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// All pairs in order.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, key: &StateKey) -> Option<&Bytes> {
        self.pairs.get(&key.to_string())
    }

    /// RFC 6962 root over the sorted pairs.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.tree().root()
    }

    /// Proofs that the keys have their values; keys without a value are passed over. Hashes the
    /// whole state: a `Configuration` has its tree at hand.
    #[must_use]
    pub fn prove(&self, keys: &[StateKey]) -> Vec<Membership> {
        self.prove_in(&self.tree(), keys)
    }

    /// The same from the tree of this state.
    pub(super) fn prove_in(&self, tree: &Tree, keys: &[StateKey]) -> Vec<Membership> {
        let root = tree.root().to_bytes();
        let named: BTreeSet<String> = keys.iter().map(ToString::to_string).collect();
        let found = named.into_iter().filter_map(|key| {
            let value = self.pairs.get(&key)?.clone();
            let index = self.pairs.range(..key.clone()).count() as u64;
            let proof = tree.inclusion_proof(index)?;
            Some(Membership {
                state_root: root.clone(),
                key,
                value,
                index,
                size: tree.size(),
                proof: proof.into_iter().map(Digest::to_bytes).collect(),
            })
        });
        found.collect()
    }

    /// The RFC 6962 tree over the sorted pairs.
    pub(super) fn tree(&self) -> Tree {
        Tree::new(
            self.pairs
                .iter()
                .map(|(key, value)| pair_leaf(key, value))
                .collect(),
        )
    }

    /// Verifies an officer's decision and gives the change set it is about.
    ///
    /// # Errors
    /// When the officer is unknown, the signature does not verify, or the set is of another
    /// instance.
    pub fn decided(&self, changes: &Changes) -> Result<ChangeSet, RejectedChange> {
        let rejected = |problem: &str| RejectedChange::ChangeSet(problem.to_owned());
        let decision = changes
            .decision
            .as_ref()
            .ok_or_else(|| rejected("no officer decided"))?;
        let officer = self.decoded::<wire::Officer>(&StateKey::Officer(decision.officer.clone()));
        let officer = officer.ok_or_else(|| {
            rejected("the officer is not known to this registry; see `central-registry show`")
        })?;
        let signed = [OFFICER_SIGNATURE_CONTEXT, &changes.change_set].concat();
        UnparsedPublicKey::new(&ED25519, &officer.public_key)
            .verify(&signed, &decision.signature)
            .map_err(|_| rejected("the officer's signature does not verify"))?;
        let set = ChangeSet::decode(changes.change_set.clone())
            .map_err(|error| rejected(&format!("the change set does not parse: {error}")))?;
        if set.instance != self.instance.as_str() {
            return Err(rejected("the change set is for another instance"));
        }
        Ok(set)
    }

    /// Applies changes together, in order: all, or none when one is rejected. What it gives back
    /// can undo them.
    ///
    /// # Errors
    /// The first change that cannot be applied, and why.
    pub fn apply(&mut self, changes: &[Change]) -> Result<Applied, RejectedChange> {
        // Undone instead of tried on a copy: a registry folds its log over a large state.
        let mut applied = Applied(Vec::with_capacity(changes.len()));
        for change in changes {
            if let Err(problem) = self.apply_one(change, &mut applied) {
                self.undo(applied);
                return Err(RejectedChange::Invalid {
                    key: change.key.clone(),
                    problem,
                });
            }
        }
        Ok(applied)
    }

    /// Takes back the changes that were applied last.
    pub fn undo(&mut self, applied: Applied) {
        for (key, former) in applied.0.into_iter().rev() {
            match former {
                Some(value) => self.pairs.insert(key, value),
                None => self.pairs.remove(&key),
            };
        }
    }

    fn apply_one(&mut self, change: &Change, applied: &mut Applied) -> Result<(), String> {
        let key =
            StateKey::parse(&self.instance, &change.key).map_err(|error| error.to_string())?;
        let former = match &change.value {
            Some(value) => {
                self.check_value(&key, value)?;
                self.pairs.insert(change.key.clone(), value.clone())
            }
            None => Some(
                self.pairs
                    .remove(&change.key)
                    .ok_or_else(|| "there is nothing to remove".to_owned())?,
            ),
        };
        applied.0.push((change.key.clone(), former));
        if change.value.is_none() {
            self.check_nothing_depends_on(&key)?;
        }
        Ok(())
    }

    /// Whether the value is what the key asks for and what it names exists.
    fn check_value(&self, key: &StateKey, value: &Bytes) -> Result<(), String> {
        let needs = |needed: StateKey| match self.value(&needed) {
            Some(_) => Ok(()),
            None => Err(format!("{needed} must be registered first")),
        };
        match key {
            StateKey::Member(_) => decode::<wire::Member>(value).map(drop),
            StateKey::Subsystem(subsystem) => {
                decode::<wire::Subsystem>(value)?;
                needs(StateKey::Member(subsystem.member()))
            }
            StateKey::Server(server) => {
                let address = decode::<wire::SecurityServer>(value)?.address;
                check_address(&address)?;
                needs(StateKey::Member(server.owner()))
            }
            StateKey::Registration(server, subsystem) => {
                decode::<wire::Registration>(value)?;
                needs(StateKey::Server(server.clone()))?;
                needs(StateKey::Subsystem(subsystem.clone()))
            }
            StateKey::Authentication(_) => {
                let server = decode::<wire::AuthenticationCertificate>(value)?.server;
                let server: ServerId = format!("{}/{server}", self.instance)
                    .parse()
                    .map_err(|error: crate::InvalidIdentifier| error.to_string())?;
                needs(StateKey::Server(server))
            }
            StateKey::Log(server, _) => {
                check_key_length(&decode::<wire::LogKey>(value)?.public_key)?;
                needs(StateKey::Server(server.clone()))
            }
            StateKey::Service(subsystem, _) => {
                let digest = decode::<wire::Service>(value)?.descriptor_digest;
                if !digest.is_empty() && digest.len() != 32 {
                    return Err("the descriptor digest is not 32 bytes".to_owned());
                }
                needs(StateKey::Subsystem(subsystem.clone()))
            }
            StateKey::Authority(digest) => {
                let authority = decode::<wire::Authority>(value)?;
                if Digest::of(&authority.certificate) != *digest {
                    return Err("the key is not the digest of the certificate".to_owned());
                }
                Ok(())
            }
            StateKey::Officer(_) => check_key_length(&decode::<wire::Officer>(value)?.public_key),
        }
    }

    /// After a removal: whether something that stays still names the key, or nobody is left who
    /// could decide.
    fn check_nothing_depends_on(&self, removed: &StateKey) -> Result<(), String> {
        let dependent = match removed {
            StateKey::Member(member) => {
                let first = |kind: &str| self.first_under(&format!("{kind}/{}/", member.local()));
                first("subsystem").or_else(|| first("server"))
            }
            StateKey::Subsystem(subsystem) => {
                let service = self.first_under(&format!("service/{}/", subsystem.local()));
                service.or_else(|| {
                    let end = format!("/{}", subsystem.local());
                    self.under("registration/")
                        .map(|(key, _)| key)
                        .find(|key| key.ends_with(&end))
                })
            }
            StateKey::Server(server) => {
                let first = |kind: &str| self.first_under(&format!("{kind}/{}/", server.local()));
                first("registration").or_else(|| first("log")).or_else(|| {
                    let names_it = |value: &Bytes| {
                        wire::AuthenticationCertificate::decode(value.clone())
                            .is_ok_and(|certificate| certificate.server == server.local())
                    };
                    let mut found = self.under("authentication/");
                    found.find(|(_, value)| names_it(value)).map(|(key, _)| key)
                })
            }
            StateKey::Officer(_) => match self.first_under("officer/") {
                Some(_) => None,
                None => return Err("the last officer cannot be removed".to_owned()),
            },
            StateKey::Registration(..)
            | StateKey::Authentication(_)
            | StateKey::Log(..)
            | StateKey::Service(..)
            | StateKey::Authority(_) => None,
        };
        match dependent {
            Some(dependent) => Err(format!("{dependent} depends on {removed}; remove it first")),
            None => Ok(()),
        }
    }

    /// The pairs whose keys begin with `prefix`.
    fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let pairs = self.pairs.range::<str, _>(from);
        pairs
            .map(|(key, value)| (key.as_str(), value))
            .take_while(move |(key, _)| key.starts_with(prefix))
    }

    fn first_under(&self, prefix: &str) -> Option<&str> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let (key, _) = self.pairs.range::<str, _>(from).next()?;
        key.starts_with(prefix).then_some(key.as_str())
    }

    pub(super) fn decoded<Value: Message + Default>(&self, key: &StateKey) -> Option<Value> {
        Value::decode(self.value(key)?.clone()).ok()
    }
}

fn decode<Value: Message + Default>(value: &Bytes) -> Result<Value, String> {
    Value::decode(value.clone()).map_err(|error| format!("the value does not parse: {error}"))
}

fn check_key_length(key: &Bytes) -> Result<(), String> {
    if key.len() == 32 {
        Ok(())
    } else {
        Err("an Ed25519 public key has 32 bytes".to_owned())
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let problem = || format!("\"{address}\" is not HOST:PORT");
    let (host, port) = address.rsplit_once(':').ok_or_else(problem)?;
    let port: u16 = port.parse().map_err(|_| problem())?;
    if host.is_empty() || host.len() > 253 || port == 0 || host.contains(char::is_whitespace) {
        return Err(problem());
    }
    Ok(())
}
