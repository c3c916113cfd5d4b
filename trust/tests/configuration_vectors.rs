//! States, entries, heads, root documents and published files are what the vectors say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{Message, bytes::Bytes};
use serde_json::{Value, json};
use support::{fields, registry, vectors};
use trust::{
    Digest, Refusal,
    checkpoint::{Checkpoint, Origin},
    configuration::{
        Anchor, Fold, OFFICER_SIGNATURE_CONTEXT, ROOT_SIGNATURE_CONTEXT, RootDocument, State,
        StateKey, VerifiedHead, pair_leaf, verify_membership,
    },
    leaf::LeafPreimage,
    merkle::{self, Tree},
    tile::{Bundle, BundledRecord, Tile},
    wire::{
        configuration::{
            Changes, Entry, OfficerDecision, RootSignature, SignedRootDocument, Snapshot,
            entry::Body,
        },
        evidence::RecordKind,
    },
};

fn refused(refusal: &Refusal) -> Value {
    json!({ "refused": refusal.reason.name(), "explanation": refusal.explanation })
}

fn seed(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

fn hashes(proof: &[Digest]) -> Vec<String> {
    proof.iter().map(ToString::to_string).collect()
}

#[test]
fn states_have_the_roots_proofs_and_snapshots_of_the_vectors() {
    vectors::check("state", |_, input| {
        let state = registry::state(&input["pairs"]);
        let snapshot = state.to_snapshot().encode_to_vec();
        let read = Snapshot::decode(snapshot.as_slice()).unwrap();
        let read = State::from_snapshot(state.instance().clone(), read).unwrap();
        assert_eq!(read.root(), state.root());
        let pairs: Vec<Value> = state
            .pairs()
            .map(|(key, value)| {
                let parsed = StateKey::parse(state.instance(), key).unwrap();
                let [membership] = state.prove(&[parsed]).try_into().unwrap();
                verify_membership(&membership).unwrap();
                let proof = membership.proof.iter();
                json!({
                    "key": key,
                    "value": hex::encode(value),
                    "leaf": pair_leaf(key, value).to_string(),
                    "index": membership.index,
                    "proof": proof.map(hex::encode).collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "pairs": pairs,
            "root": state.root().to_string(),
            "size": state.len(),
            "snapshot": hex::encode(snapshot),
        })
    });
}

#[test]
fn root_documents_are_signed_and_followed_as_in_the_vectors() {
    let mut accepted: Vec<Option<RootDocument>> = Vec::new();
    vectors::check("root-document", |_, input| {
        let document = fields::encode("configuration.v1.RootDocument", &input["document"]);
        let signers: Vec<u8> = input["signed_by"]
            .as_array()
            .unwrap()
            .iter()
            .map(seed)
            .collect();
        let signed = match input.get("context") {
            None => registry::signed_root(&document, &signers),
            Some(context) => signed_with_context(&document, &signers, context.as_str().unwrap()),
        };
        let mut output = json!({
            "document": hex::encode(&document),
            "signed": hex::encode(&signed),
            "context": String::from_utf8_lossy(ROOT_SIGNATURE_CONTEXT),
        });
        let outcome = match input.get("after") {
            Some(case) => {
                let before = accepted[case.as_u64().unwrap() as usize].as_ref().unwrap();
                before.next(signed)
            }
            None => Anchor::from_root_document(signed).map(|anchor| {
                let json = anchor.to_json();
                let read = Anchor::from_json(&json).unwrap();
                assert_eq!(read.root().signed(), anchor.root().signed());
                output["anchor"] = serde_json::from_str(&json).unwrap();
                anchor.root().clone()
            }),
        };
        match &outcome {
            Ok(_) => output["accepted"] = true.into(),
            Err(refusal) => output["refusal"] = refused(refusal),
        }
        accepted.push(outcome.ok());
        output
    });
}

fn signed_with_context(document: &Bytes, seeds: &[u8], context: &str) -> Bytes {
    let signed = [context.as_bytes(), document].concat();
    let signatures = seeds.iter().map(|seed| RootSignature {
        public_key: registry::public_key(*seed),
        signature: Bytes::copy_from_slice(registry::key(*seed).sign(&signed).as_ref()),
    });
    registry::encoded(&SignedRootDocument {
        document: document.clone(),
        signatures: signatures.collect(),
    })
}

#[test]
fn entries_are_signed_and_folded_as_in_the_vectors() {
    let mut fold = Fold::new("VN".parse().unwrap());
    vectors::check("entry", |_, input| {
        let change_set = fields::encode("configuration.v1.ChangeSet", &input["change_set"]);
        let signed = [OFFICER_SIGNATURE_CONTEXT, &change_set].concat();
        let signature = registry::key(seed(&input["signed_by"])).sign(&signed);
        let entry = Entry {
            instance: "VN".into(),
            created_at: input["created_at"].as_i64().unwrap(),
            body: Some(Body::Changes(Changes {
                change_set: change_set.clone(),
                decision: Some(OfficerDecision {
                    officer: input["officer"].as_str().unwrap().into(),
                    signature: Bytes::copy_from_slice(signature.as_ref()),
                }),
                ..Changes::default()
            })),
        };
        let entry = registry::encoded(&entry);
        let before = (fold.state().root(), fold.size());
        let outcome = fold.entry(&entry);
        if outcome.is_err() {
            assert_eq!((fold.state().root(), fold.size()), before);
        }
        json!({
            "context": String::from_utf8_lossy(OFFICER_SIGNATURE_CONTEXT),
            "change_set": hex::encode(&change_set),
            "signature": hex::encode(signature.as_ref()),
            "entry": hex::encode(&entry),
            "taken": outcome.is_ok(),
            "problem": outcome.err().map(|error| error.to_string()),
            "state_root": fold.state().root().to_string(),
        })
    });
}

#[test]
fn heads_are_made_and_verified_as_in_the_vectors() {
    let anchor = registry::anchor("VN");
    vectors::check("head", |_, input| {
        let entries: Vec<Value> = input["entries"].as_array().unwrap().clone();
        let entries: Vec<Bytes> = entries
            .iter()
            .map(|entry| fields::encode("configuration.v1.Entry", entry))
            .collect();
        let leaves: Vec<Digest> = entries
            .iter()
            .map(|entry| {
                LeafPreimage::of_local_record(RecordKind::Entry as u8, entry, b"annex").leaf()
            })
            .collect();
        let tree = Tree::new(leaves.clone());
        let origin = match input.get("origin") {
            Some(origin) => origin.as_str().unwrap().parse().unwrap(),
            None => Origin::of_registry(&"VN".parse().unwrap()),
        };
        let checkpoint = Checkpoint {
            origin,
            size: tree.size(),
            root: tree.root(),
        };
        let checkpoint = checkpoint.sign(&registry::key(seed(&input["head_key"])));
        let index = input
            .get("index")
            .and_then(Value::as_u64)
            .unwrap_or_else(|| tree.size() - 1);
        let proof = tree.inclusion_proof(index).unwrap();
        let mut head = json!({
            "checkpoint": hex::encode(checkpoint.as_bytes()),
            "entry": hex::encode(&entries[index as usize]),
            "annex_digest": Digest::of(b"annex").to_string(),
            "index": index,
            "proof": hashes(&proof),
        });
        for (field, value) in input["replace"].as_object().into_iter().flatten() {
            head[field] = value.clone();
        }
        let encoded = fields::encode("configuration.v1.Head", &head);
        let mut output = json!({
            "leaves": hashes(&leaves),
            "checkpoint": String::from_utf8_lossy(checkpoint.as_bytes()),
            "head": hex::encode(&encoded),
        });
        match VerifiedHead::verify(encoded, anchor.root()) {
            Ok(verified) => {
                output["serial"] = verified.serial().into();
                output["digest"] = verified.digest().to_string().into();
                output["state_root"] = verified.state_root().to_string().into();
            }
            Err(refusal) => output["refusal"] = refused(&refusal),
        }
        if let Some(older) = input.get("older_size").and_then(Value::as_u64) {
            let consistency = merkle::consistency_proof(&tree, older, tree.size()).unwrap();
            let old_root = merkle::root(&tree, older).unwrap();
            let (new_size, new_root) = (tree.size(), tree.root());
            merkle::verify_consistency(older, &old_root, new_size, &new_root, &consistency)
                .unwrap();
            output["consistency_proof"] = hashes(&consistency).into();
        }
        output
    });
}

#[test]
fn published_files_have_the_names_and_bytes_of_the_vectors() {
    let number = |value: &Value, field: &str| value[field].as_u64().unwrap();
    vectors::check("tile", |_, input| {
        if let Some(place) = input.get("tile") {
            let level = number(place, "level").try_into().unwrap();
            let tile = Tile::of_size(level, number(place, "index"), number(place, "size"));
            return json!(tile.map(|tile| json!({
                "path": tile.to_string(),
                "width": tile.width(),
            })));
        }
        if let Some(sizes) = input.get("bundles") {
            let added = Bundle::added(number(sizes, "old_size"), number(sizes, "size"));
            return json!(added.map(|bundle| bundle.to_string()).collect::<Vec<_>>());
        }
        if let Some(sizes) = input.get("added") {
            let added = Tile::added(number(sizes, "old_size"), number(sizes, "size"));
            let added: Vec<String> = added.map(|tile| tile.to_string()).collect();
            return json!({ "count": added.len(), "first": added.first(), "last": added.last() });
        }
        let records: Vec<BundledRecord> = input["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| BundledRecord {
                kind: number(record, "kind").try_into().unwrap(),
                header: fields::bytes(&record["header"]),
                annex_digest: Digest::from_slice(&fields::bytes(&record["annex_digest"])).unwrap(),
            })
            .collect();
        let mut bundle = Vec::new();
        for record in &records {
            assert!(record.encode(&mut bundle));
        }
        let bundle = Bytes::from(bundle);
        assert_eq!(BundledRecord::decode_all(&bundle).unwrap(), records);
        let leaves: Vec<Digest> = records.iter().map(BundledRecord::leaf).collect();
        json!({ "bundle": hex::encode(&bundle), "leaves": hashes(&leaves) })
    });
}
