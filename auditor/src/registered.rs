//! What is proven to be registered under one state of the configuration.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest, InstanceId,
    configuration::{StateKey, verify_membership},
    wire::{
        configuration::{
            AuthenticationCertificate, Authority, LogKey, Registration, SecurityServer,
        },
        evidence::Membership,
    },
};

/// How many keys with a failed proof are remembered, so that what relies on them is not blamed.
const FAILED_PROOFS: usize = 10_000;

/// The keys of one state whose values were proven.
pub(crate) struct ProvenState {
    root: Digest,
    /// How many keys the state has; none when its head did not verify.
    size: Option<u64>,
    /// None: a proof was recorded and did not hold.
    values: BTreeMap<String, Option<Bytes>>,
    failed: usize,
}

/// What a state says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proven<Value> {
    /// It has this value.
    Value(Value),
    /// No proof of it was recorded.
    Nothing,
    /// What was recorded did not hold: a finding of its own.
    Unknown,
}

impl ProvenState {
    pub(crate) const fn new(root: Digest, size: Option<u64>) -> Self {
        Self {
            root,
            size,
            values: BTreeMap::new(),
            failed: 0,
        }
    }

    pub(crate) const fn root(&self) -> Digest {
        self.root
    }

    /// Whether a verified head publishes this state.
    pub(crate) const fn is_published(&self) -> bool {
        self.size.is_some()
    }

    /// A head that was recorded publishes this state.
    pub(crate) fn published(&mut self, size: Option<u64>) {
        self.size = self.size.or(size);
    }

    /// Takes in a proof under this state.
    pub(crate) fn prove(
        &mut self,
        instance: &InstanceId,
        membership: Membership,
    ) -> Result<(), String> {
        let holds = check(instance, &membership, self.size);
        if holds.is_ok() {
            self.values.insert(membership.key, Some(membership.value));
        } else if self.failed < FAILED_PROOFS {
            self.failed += 1;
            // A proof that held is not taken back by one that does not.
            self.values.entry(membership.key).or_insert(None);
        }
        holds
    }

    /// The value of a key, decoded.
    pub(crate) fn value<Value: Message + Default>(&self, key: &StateKey) -> Proven<Value> {
        match self.values.get(&key.to_string()) {
            Some(value) => decode(value.as_ref()),
            None => Proven::Nothing,
        }
    }

    /// The certification authorities of this state, by the digest of their certificate.
    pub(crate) fn authorities(&self) -> impl Iterator<Item = Proven<Authority>> {
        const PREFIX: &str = "authority/";
        self.values
            .range(PREFIX.to_owned()..)
            .take_while(|(key, _)| key.starts_with(PREFIX))
            .map(|(_, value)| decode(value.as_ref()))
    }
}

fn decode<Value: Message + Default>(value: Option<&Bytes>) -> Proven<Value> {
    let value = value.and_then(|value| Value::decode(value.clone()).ok());
    value.map_or(Proven::Unknown, Proven::Value)
}

fn check(instance: &InstanceId, membership: &Membership, size: Option<u64>) -> Result<(), String> {
    let key = StateKey::parse(instance, &membership.key).map_err(|error| error.to_string())?;
    if size != Some(membership.size) {
        return Err(format!(
            "the proof for {key} is of a state with another number of keys"
        ));
    }
    verify_membership(membership).map_err(|refusal| refusal.explanation)?;
    let value = &membership.value;
    let is_readable = match key {
        StateKey::Server(_) => SecurityServer::decode(value.clone()).is_ok(),
        StateKey::Registration(..) => Registration::decode(value.clone()).is_ok(),
        StateKey::Authentication(_) => AuthenticationCertificate::decode(value.clone()).is_ok(),
        StateKey::Authority(_) => Authority::decode(value.clone()).is_ok(),
        StateKey::Log(..) => {
            LogKey::decode(value.clone()).is_ok_and(|key| key.public_key.len() == 32)
        }
        StateKey::Member(_)
        | StateKey::Subsystem(_)
        | StateKey::Service(..)
        | StateKey::Officer(_) => true,
    };
    if is_readable {
        Ok(())
    } else {
        Err(format!("the value of {key} cannot be read"))
    }
}
