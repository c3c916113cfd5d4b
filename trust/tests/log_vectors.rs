//! The golden vectors of what a log proves: tree, leaf, checkpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use aws_lc_rs::signature::Ed25519KeyPair;
use serde_json::Value;
use trust::{
    Digest,
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    leaf::LeafPreimage,
    merkle::{self, Tree},
};

fn vector(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn digest(value: &Value) -> Digest {
    Digest::from_hex(text(value)).unwrap()
}

fn digests(value: &Value) -> Vec<Digest> {
    value.as_array().unwrap().iter().map(digest).collect()
}

fn check_proofs(vector: &Value, tree: &Tree, leaves: &[Digest], root_of: impl Fn(u64) -> Digest) {
    for case in vector["inclusion"].as_array().unwrap() {
        let (index, size) = (
            case["index"].as_u64().unwrap(),
            case["size"].as_u64().unwrap(),
        );
        let proof = digests(&case["proof"]);
        assert_eq!(merkle::inclusion_proof(tree, index, size).unwrap(), proof);
        let leaf = &leaves[usize::try_from(index).unwrap()];
        merkle::verify_inclusion(leaf, index, size, &proof, &root_of(size)).unwrap();
    }
    for case in vector["joint"].as_array().unwrap() {
        let size = case["size"].as_u64().unwrap();
        let indices = case["indices"].as_array().unwrap().iter();
        let indices: Vec<u64> = indices.map(|index| index.as_u64().unwrap()).collect();
        let proof = digests(&case["proof"]);
        assert_eq!(merkle::joint_proof(tree, &indices, size).unwrap(), proof);
        let chosen = indices
            .iter()
            .map(|index| (*index, leaves[usize::try_from(*index).unwrap()]));
        let chosen: Vec<_> = chosen.collect();
        merkle::verify_joint_inclusion(&chosen, size, &proof, &root_of(size)).unwrap();
    }
    for case in vector["consistency"].as_array().unwrap() {
        let old = case["old_size"].as_u64().unwrap();
        let new = case["new_size"].as_u64().unwrap();
        let proof = digests(&case["proof"]);
        assert_eq!(merkle::consistency_proof(tree, old, new).unwrap(), proof);
        merkle::verify_consistency(old, &root_of(old), new, &root_of(new), &proof).unwrap();
    }
}

#[test]
fn merkle_trees() {
    let vector = vector(include_str!("vectors/merkle.json"));
    let mut leaves = Vec::new();
    for leaf in vector["leaves"].as_array().unwrap() {
        leaves.push(merkle::leaf_hash(&bytes(&leaf["data"])));
        assert_eq!(leaves.last(), Some(&digest(&leaf["hash"])));
    }
    let roots = digests(&vector["roots"]);
    let tree = Tree::new(leaves.clone());
    for (size, root) in (0..).zip(&roots) {
        assert_eq!(merkle::root(&tree, size).unwrap(), *root);
    }
    check_proofs(&vector, &tree, &leaves, |size| {
        roots[usize::try_from(size).unwrap()]
    });

    let large = &vector["large"];
    let leaves: Vec<_> = (0..large["size"].as_u64().unwrap())
        .map(|number| merkle::leaf_hash(&number.to_be_bytes()))
        .collect();
    let tree = Tree::new(leaves.clone());
    assert_eq!(tree.root(), digest(&large["root"]));
    check_proofs(large, &tree, &leaves, |size| {
        merkle::root(&tree, size).unwrap()
    });
}

#[test]
fn leaves_of_records() {
    let vector = vector(include_str!("vectors/leaf.json"));
    for case in vector["cases"].as_array().unwrap() {
        let preimage = LeafPreimage {
            kind: u8::try_from(case["kind"].as_u64().unwrap()).unwrap(),
            message_digest: digest(&case["message_digest"]),
            signature_digest: digest(&case["signature_digest"]),
            annex_digest: digest(&case["annex_digest"]),
        };
        let (value, annex) = (bytes(&case["signature_value"]), bytes(&case["annex"]));
        assert_eq!(Digest::of(&value), preimage.signature_digest);
        assert_eq!(Digest::of(&annex), preimage.annex_digest);
        if let Some(header) = case.get("header") {
            let local = LeafPreimage::of_local_record(preimage.kind, &bytes(header), &annex);
            assert_eq!(local, preimage);
        }
        assert_eq!(preimage.encode().len(), LeafPreimage::LENGTH);
        assert_eq!(preimage.encode(), bytes(&case["preimage"]));
        assert_eq!(preimage.leaf(), digest(&case["leaf"]));
    }
}

#[test]
fn checkpoints() {
    let vector = vector(include_str!("vectors/checkpoint.json"));
    let key = Ed25519KeyPair::from_seed_unchecked(&bytes(&vector["seed"])).unwrap();
    let public = LogKey::of(&key).unwrap();
    assert_eq!(public.as_bytes().as_slice(), bytes(&vector["public_key"]));
    for case in vector["checkpoints"].as_array().unwrap() {
        let origin: Origin = text(&case["origin"]).parse().unwrap();
        let name = text(&case["origin"]);
        assert_eq!(public.id(name).as_slice(), bytes(&case["key_id"]));
        assert_eq!(public.verifier_key(name), text(&case["verifier_key"]));
        let checkpoint = Checkpoint {
            origin: origin.clone(),
            size: text(&case["size"]).parse().unwrap(),
            root: digest(&case["root"]),
        };
        let signed = checkpoint.clone().sign(&key);
        assert_eq!(signed.as_bytes().as_ref(), text(&case["note"]).as_bytes());
        let read = SignedCheckpoint::parse(signed.as_bytes()).unwrap();
        assert_eq!(read.verify(&origin, &public).unwrap(), &checkpoint);
    }
    let cosigned = &vector["cosigned"];
    let origin: Origin = text(&cosigned["origin"]).parse().unwrap();
    let read = SignedCheckpoint::parse(text(&cosigned["note"]).as_bytes()).unwrap();
    assert_eq!(read.as_bytes().as_ref(), text(&cosigned["note"]).as_bytes());
    assert_eq!(read.signatures().len(), 2);
    read.verify(&origin, &public).unwrap();
    for case in vector["refused"].as_array().unwrap() {
        let outcome = SignedCheckpoint::parse(text(&case["note"]).as_bytes())
            .and_then(|read| read.verify(&origin, &public).cloned());
        assert!(outcome.is_err(), "{}", case["description"]);
    }
}
