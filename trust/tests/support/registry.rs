//! A registry in a few lines: from keys and a state to a configuration in force.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use prost::{Message, bytes::Bytes};
use serde_json::Value;
use trust::{
    Digest, InstanceId,
    checkpoint::{Checkpoint, Origin},
    configuration::{Anchor, Configuration, ROOT_SIGNATURE_CONTEXT, State, VerifiedHead},
    leaf::LeafPreimage,
    merkle::Tree,
    wire::{
        configuration::{
            Change, Entry, Head, Publication, RootDocument, RootSignature, SignedRootDocument,
            entry::Body,
        },
        evidence::RecordKind,
    },
};

use super::fields;

/// The Ed25519 key whose seed is 32 times this byte.
pub fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

pub fn public_key(seed: u8) -> Bytes {
    Bytes::copy_from_slice(key(seed).public_key().as_ref())
}

/// A root document signed by the keys with these seeds.
pub fn signed_root(document: &Bytes, seeds: &[u8]) -> Bytes {
    let signed = [ROOT_SIGNATURE_CONTEXT, document].concat();
    let signatures = seeds
        .iter()
        .map(|seed| RootSignature {
            public_key: public_key(*seed),
            signature: Bytes::copy_from_slice(key(*seed).sign(&signed).as_ref()),
        })
        .collect();
    let document = document.clone();
    SignedRootDocument {
        document,
        signatures,
    }
    .encode_to_vec()
    .into()
}

/// Version 1 with one root key (seed 1) and one head key (seed 2).
pub fn anchor(instance: &str) -> Anchor {
    let document = RootDocument {
        instance: instance.into(),
        version: 1,
        root_keys: vec![public_key(1)],
        threshold: 1,
        expires_at: 2_000_000_000,
        head_keys: vec![public_key(2)],
        sources: vec!["https://registry.example.vn/".into()],
        ..RootDocument::default()
    };
    let document = document.encode_to_vec().into();
    Anchor::from_root_document(signed_root(&document, &[1])).unwrap()
}

/// The registry's log: entries with annexes of one byte.
#[derive(Default)]
pub struct Log {
    leaves: Vec<Digest>,
    entries: Vec<Bytes>,
}

impl Log {
    pub fn publish(&mut self, instance: &str, publication: Publication) {
        let entry = Entry {
            instance: instance.into(),
            created_at: publication.issued_at,
            body: Some(Body::Publication(publication)),
        };
        self.append(entry.encode_to_vec().into());
    }

    pub fn append(&mut self, entry: Bytes) {
        let leaf = LeafPreimage::of_local_record(RecordKind::Entry as u8, &entry, b"annex");
        self.leaves.push(leaf.leaf());
        self.entries.push(entry);
    }

    pub fn tree(&self) -> Tree {
        Tree::new(self.leaves.clone())
    }

    /// The head over the newest entry, signed with the key of this seed.
    pub fn head(&self, instance: &str, seed: u8) -> Head {
        self.head_of(instance, seed, u64::MAX)
    }

    /// The head over the entry with this index, or the newest.
    pub fn head_of(&self, instance: &str, seed: u8, index: u64) -> Head {
        let instance: InstanceId = instance.parse().unwrap();
        let tree = self.tree();
        let index = index.min(tree.size() - 1);
        let checkpoint = Checkpoint {
            origin: Origin::of_registry(&instance),
            size: tree.size(),
            root: tree.root(),
        };
        let proof = tree.inclusion_proof(index).unwrap();
        Head {
            checkpoint: checkpoint.sign(&key(seed)).as_bytes().clone(),
            entry: self.entries[index as usize].clone(),
            annex_digest: Digest::of(b"annex").to_bytes(),
            index,
            proof: proof.into_iter().map(Digest::to_bytes).collect(),
        }
    }
}

pub fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// What is published of a state, in force from 1,800,000,000 for an hour.
pub fn publication(state: &State) -> Publication {
    Publication {
        state_root: state.root().to_bytes(),
        state_size: state.len() as u64,
        issued_at: 1_800_000_000,
        expires_at: 1_800_003_600,
    }
}

/// A configuration in force with this state.
pub fn published(state: State) -> Arc<Configuration> {
    let instance = state.instance().to_string();
    let mut log = Log::default();
    log.publish(&instance, publication(&state));
    let head = encoded(&log.head(&instance, 2));
    let head = VerifiedHead::verify(head, anchor(&instance).root()).unwrap();
    Configuration::new(head, state).unwrap()
}

/// The state of `VN` that a JSON object of key and value fields describes.
pub fn state(pairs: &Value) -> State {
    let mut changes: Vec<Change> = pairs
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| Change {
            key: key.clone(),
            value: Some(fields::encode(value_type(key), value)),
        })
        .collect();
    // What others name comes first.
    changes.sort_by_key(|change| match change.key.split('/').next() {
        Some("member") => 0,
        Some("subsystem" | "server") => 1,
        _ => 2,
    });
    let mut state = State::empty("VN".parse().unwrap());
    state.apply(&changes).unwrap();
    state
}

/// The message that the value of a key is.
pub fn value_type(key: &str) -> &'static str {
    match key.split('/').next().unwrap() {
        "member" => "configuration.v1.Member",
        "subsystem" => "configuration.v1.Subsystem",
        "server" => "configuration.v1.SecurityServer",
        "registration" => "configuration.v1.Registration",
        "authentication" => "configuration.v1.AuthenticationCertificate",
        "log" => "configuration.v1.LogKey",
        "service" => "configuration.v1.Service",
        "authority" => "configuration.v1.Authority",
        "officer" => "configuration.v1.Officer",
        other => panic!("no kind of key: {other}"),
    }
}
