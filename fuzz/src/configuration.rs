//! The global configuration: heads, root documents, anchors, officers' changes, snapshots.
//!
//! Where a signature would stop the search, the target signs what it is given with the keys of the
//! vectors: bytes that were signed by somebody are still bytes from outside.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use prost::Message;
use trust::{
    InstanceId,
    checkpoint::SignedCheckpoint,
    configuration::{
        Anchor, Fold, OFFICER_SIGNATURE_CONTEXT, ROOT_SIGNATURE_CONTEXT, State, VerifiedHead,
        verify_membership,
    },
    wire::{
        configuration::{
            Changes, Entry, Head, OfficerDecision, RootDocument, RootSignature, SignedRootDocument,
            Snapshot, entry::Body,
        },
        evidence::Membership,
    },
};

use crate::seeds;

const ENTRIES: &str = "trust/tests/vectors/entry.json";

fn vn() -> InstanceId {
    "VN".parse().unwrap()
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(seed: u8) -> Bytes {
    Bytes::copy_from_slice(key(seed).public_key().as_ref())
}

fn signed_root(document: Bytes) -> Bytes {
    let signed = [ROOT_SIGNATURE_CONTEXT, &document].concat();
    let signature = |seed| RootSignature {
        public_key: public(seed),
        signature: Bytes::copy_from_slice(key(seed).sign(&signed).as_ref()),
    };
    let signatures = (1..4).map(signature).collect();
    let signed = SignedRootDocument {
        document,
        signatures,
    };
    signed.encode_to_vec().into()
}

static ANCHOR: LazyLock<Anchor> = LazyLock::new(|| {
    let document = RootDocument {
        instance: "VN".into(),
        version: 1,
        root_keys: vec![public(1)],
        threshold: 1,
        expires_at: 2_000_000_000,
        head_keys: vec![public(2)],
        ..RootDocument::default()
    };
    Anchor::from_root_document(signed_root(document.encode_to_vec().into())).unwrap()
});

pub fn heads() -> Vec<Vec<u8>> {
    seeds::of("trust/tests/vectors/head.json", &["head"])
}

/// Whatever its checkpoint says is signed by the head key: the proof still has to hold.
pub fn head(bytes: &[u8]) {
    let root = ANCHOR.root();
    let _ = VerifiedHead::verify(Bytes::copy_from_slice(bytes), root);
    let Ok(mut head) = Head::decode(bytes) else {
        return;
    };
    let Ok(note) = SignedCheckpoint::parse(&head.checkpoint) else {
        return;
    };
    let claimed = note.unverified().clone();
    head.checkpoint = claimed.clone().sign(&key(2)).as_bytes().clone();
    if let Ok(verified) = VerifiedHead::verify(head.encode_to_vec().into(), root) {
        assert_eq!(verified.serial(), claimed.size);
        assert!(verified.index() < verified.serial());
        let entry = Entry::decode(head.entry).unwrap();
        assert_eq!(
            entry.body,
            Some(Body::Publication(verified.publication().clone()))
        );
        verified.check_extends(&verified, &[]).unwrap();
        let _ = verified.check_time(1_800_000_000, verified.publication().issued_at);
        let _ = verified.check_validity(1_800_000_000);
    }
}

pub fn root_documents() -> Vec<Vec<u8>> {
    seeds::of(
        "trust/tests/vectors/root-document.json",
        &["document", "signed"],
    )
}

/// Whatever it says is signed by three keys: it follows only if it is the next of this instance.
pub fn root_document(bytes: &[u8]) {
    for signed in [
        Bytes::copy_from_slice(bytes),
        signed_root(Bytes::copy_from_slice(bytes)),
    ] {
        if let Ok(next) = ANCHOR.root().next(signed.clone()) {
            assert_eq!((next.document().version, next.instance()), (2, &vn()));
            assert!(next.document().threshold > 0);
            let _ = next.check_expiry(1_800_000_000);
        }
        if let Ok(anchor) = Anchor::from_root_document(signed) {
            assert_eq!(anchor.root().document().version, 1);
            let again = Anchor::from_json(&anchor.to_json()).unwrap();
            assert_eq!(again.root().signed(), anchor.root().signed());
        }
    }
}

pub fn anchors() -> Vec<Vec<u8>> {
    let vectors = seeds::read("auditor/tests/vectors/exchange.anchor.json");
    vec![vectors, ANCHOR.to_json().into()]
}

/// The file shows what its root document says, in one way.
pub fn anchor(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(anchor) = Anchor::from_json(text)
    {
        let again = Anchor::from_json(&anchor.to_json()).unwrap();
        assert_eq!(again.root().signed(), anchor.root().signed());
    }
}

/// A registry with an officer, and two members.
static BEFORE: LazyLock<Fold> = LazyLock::new(|| {
    let vectors: serde_json::Value = serde_json::from_slice(&seeds::read(ENTRIES)).unwrap();
    let mut fold = Fold::new(vn());
    for case in &vectors["cases"].as_array().unwrap()[..2] {
        let entry = hex::decode(case["output"]["entry"].as_str().unwrap()).unwrap();
        fold.entry(&entry.into()).unwrap();
    }
    fold
});

pub fn change_sets() -> Vec<Vec<u8>> {
    seeds::of(ENTRIES, &["change_set", "entry"])
}

/// An entry is folded, or leaves the fold as it was; the officer has signed whatever is given.
pub fn changes(bytes: &[u8]) {
    let before = &*BEFORE;
    let signed = [OFFICER_SIGNATURE_CONTEXT, bytes].concat();
    let entry = Entry {
        instance: "VN".into(),
        created_at: 1_800_000_000,
        body: Some(Body::Changes(Changes {
            change_set: Bytes::copy_from_slice(bytes),
            decision: Some(OfficerDecision {
                officer: "first".into(),
                signature: Bytes::copy_from_slice(key(3).sign(&signed).as_ref()),
            }),
            ..Changes::default()
        })),
    };
    for entry in [entry.encode_to_vec().into(), Bytes::copy_from_slice(bytes)] {
        let mut fold = before.clone();
        if fold.entry(&entry).is_err() {
            assert_eq!((fold.size(), fold.state()), (before.size(), before.state()));
            continue;
        }
        assert_eq!(fold.size(), before.size() + 1);
        let state = fold.state();
        let published = state.to_snapshot().encode_to_vec().into();
        let read = State::from_published(vn(), published, state.len() as u64).unwrap();
        assert_eq!((&read, read.root()), (state, state.root()));
    }
}

pub fn snapshots() -> Vec<Vec<u8>> {
    seeds::of("trust/tests/vectors/state.json", &["snapshot"])
}

/// Read field by field it says what the decoder reads, and never more.
pub fn snapshot(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let decoded = Snapshot::decode(bytes.clone()).ok();
    let size = decoded
        .as_ref()
        .map_or(0, |snapshot| snapshot.pairs.len() as u64);
    let decoded = decoded.and_then(|snapshot| State::from_snapshot(vn(), snapshot).ok());
    if let Ok(published) = State::from_published(vn(), bytes, size) {
        assert_eq!(Some(&published), decoded.as_ref());
        let again = published.to_snapshot().encode_to_vec().into();
        assert_eq!(State::from_published(vn(), again, size).unwrap(), published);
    }
}

pub fn memberships() -> Vec<Vec<u8>> {
    snapshots()
        .iter()
        .flat_map(|snapshot| proofs(snapshot))
        .collect()
}

fn proofs(snapshot: &[u8]) -> Vec<Vec<u8>> {
    let state = State::from_snapshot(vn(), Snapshot::decode(snapshot).unwrap()).unwrap();
    let keys = state
        .pairs()
        .map(|(key, _)| key.to_owned())
        .collect::<Vec<_>>();
    let keys = keys.iter();
    let keys = keys.map(|key| trust::configuration::StateKey::parse(&vn(), key).unwrap());
    let keys: Vec<_> = keys.collect();
    state
        .prove(&keys)
        .iter()
        .map(Message::encode_to_vec)
        .collect()
}

/// Only what is in the state is proven to be in it.
pub fn membership(bytes: &[u8]) {
    let Ok(membership) = Membership::decode(bytes) else {
        return;
    };
    if verify_membership(&membership).is_err() {
        return;
    }
    for snapshot in snapshots() {
        let state = State::from_snapshot(vn(), Snapshot::decode(snapshot.as_slice()).unwrap());
        let state = state.unwrap();
        if membership.state_root == state.root().to_bytes() {
            let is_there =
                |(key, value): (&str, &Bytes)| key == membership.key && *value == membership.value;
            assert!(state.pairs().any(is_there));
        }
    }
}
