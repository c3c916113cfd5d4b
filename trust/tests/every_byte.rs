//! Every byte counts: changed, cut and followed by others, each format is refused by name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{
    Message,
    bytes::{Buf, Bytes},
};
use serde_json::Value;
use support::{
    every_byte::{Format, Irrelevant, Tail},
    fields, registry,
    signer::certificate_of,
    vectors,
};
use trust::{
    Digest, Reason, Refusal,
    batch::VerifiedBatches,
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    configuration::{Anchor, Fold, State, VerifiedHead, verify_membership},
    merkle::{self, Tree},
    message::{KeptMessage, UnverifiedMessage},
    peer_log::{KEPT, PeerLog},
    record::leaf_preimage,
    tile::{BundledRecord, Tile, TiledTree},
    wire::evidence::{Envelope, Membership, PeerCheckpoint, RecordKind, Signature},
};

const LATER_FIELDS: &str = "fields that this version does not know are passed over";
const COSIGNED: &str = "a cosignature: for those who know the key of that witness";
const MERGED: &str = "of a field that stands there twice the last counts, and it is the same";

/// A field of the output of a vector.
fn output(name: &str, case: usize, field: &str) -> Bytes {
    fields::bytes(&vectors::read(name)["cases"][case]["output"][field])
}

fn named(refusal: Refusal) -> String {
    refusal.reason.name().to_owned()
}

fn words(refusal: Refusal) -> String {
    assert_eq!(refusal.reason, Reason::InvalidConfiguration);
    refusal.explanation
}

/// The signature decides: no other message has its digest.
#[test]
fn of_an_envelope() {
    let messages = vectors::read("message");
    for case in 0..3 {
        let certificate =
            certificate_of(messages["cases"][case]["input"]["signer"].as_str().unwrap());
        let names = Format {
            name: "envelope",
            valid: &output("message", case, "envelope"),
            verify: &|bytes| {
                // What is no message at all is refused by whoever reads the frame, so named.
                let envelope = Envelope::decode(bytes)
                    .map_err(|_| Reason::MalformedEnvelope.name().to_owned())?;
                let message = UnverifiedMessage::parse(envelope).map_err(named)?;
                let message = message
                    .verify(&certificate, &VerifiedBatches::default())
                    .map_err(named)?;
                Ok((message.digest(), message.envelope()))
            },
            irrelevant: Irrelevant {
                tails: &[(Tail::UnknownField, LATER_FIELDS), (Tail::Again, MERGED)],
                ..Irrelevant::default()
            },
        }
        .check();
        for reason in [
            Reason::MalformedEnvelope,
            Reason::ContentMismatch,
            Reason::InvalidSignature,
            Reason::UnknownCertificate,
        ] {
            assert!(names.contains(reason.name()), "{reason:?} in {names:?}");
        }
    }
}

/// The parts of a kept message. The leaf fixes header, signature value and annex; the certificate
/// that the signature names has to be the one that made it.
#[test]
fn of_a_kept_message() {
    let record = &vectors::read("record")["cases"][0];
    assert_eq!(record["input"]["kind"], RecordKind::Message.as_str_name());
    let [header, annex] = ["header", "annex"].map(|part| output("record", 0, part));
    let signature = fields::bytes(&record["input"]["signature"]);
    let certificate = certificate_of("VN/GOV/G01");
    let logged = Digest::from_hex(record["output"]["leaf"].as_str().unwrap()).unwrap();
    let verify = |header: Bytes, signature: Bytes, annex: Bytes| {
        let kind = RecordKind::Message as u8;
        let leaf = leaf_preimage(kind, &header, &signature, &annex).map_err(named)?;
        if leaf.leaf() != logged {
            return Err("not in the log".to_owned());
        }
        let signature = Signature::decode(signature).map_err(|error| error.to_string())?;
        let message = KeptMessage::parse(header, Some(signature)).map_err(named)?;
        message
            .verify(&certificate, &VerifiedBatches::default())
            .map_err(named)
    };
    let later = [(Tail::UnknownField, LATER_FIELDS), (Tail::Again, MERGED)];
    Format {
        name: "header of a record",
        valid: &header,
        verify: &|bytes| {
            verify(
                Bytes::copy_from_slice(bytes),
                signature.clone(),
                annex.clone(),
            )
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
    Format {
        name: "signature of a record",
        valid: &signature,
        verify: &|bytes| verify(header.clone(), Bytes::copy_from_slice(bytes), annex.clone()),
        irrelevant: Irrelevant {
            tails: &later,
            ..Irrelevant::default()
        },
    }
    .check();
    Format {
        name: "annex of a record",
        valid: &annex,
        verify: &|bytes| {
            verify(
                header.clone(),
                signature.clone(),
                Bytes::copy_from_slice(bytes),
            )
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
}

#[test]
fn of_a_checkpoint() {
    let vector = vectors::read("checkpoint");
    let key = LogKey::from_slice(&fields::bytes(&vector["public_key"])).unwrap();
    let origin = vector["cosigned"]["origin"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let verify = |bytes: &[u8]| {
        let signed = SignedCheckpoint::parse(bytes).map_err(|error| error.to_string())?;
        let checkpoint = signed.verify(&origin, &key);
        checkpoint.cloned().map_err(|error| error.to_string())
    };
    let note = |case: &Value| case["note"].as_str().unwrap().to_owned().into_bytes();
    let own = vector["checkpoints"].as_array().unwrap();
    let own = own
        .iter()
        .find(|case| case["origin"] == vector["cosigned"]["origin"]);
    Format {
        name: "checkpoint",
        valid: &note(own.unwrap()),
        verify: &verify,
        irrelevant: Irrelevant::default(),
    }
    .check();
    Format {
        name: "cosigned checkpoint",
        valid: &note(&vector["cosigned"]),
        verify: &verify,
        irrelevant: Irrelevant {
            bytes: &[(193..211, COSIGNED), (212..314, COSIGNED)],
            cuts: &[(189, "before the line of the cosignature")],
            ..Irrelevant::default()
        },
    }
    .check();
}

#[test]
fn of_a_head() {
    let anchor = registry::anchor("VN");
    Format {
        name: "head",
        valid: &output("head", 1, "head"),
        verify: &|bytes| {
            let head = VerifiedHead::verify(Bytes::copy_from_slice(bytes), anchor.root());
            let head = head.map_err(words)?;
            Ok((head.serial(), head.index(), head.publication().clone()))
        },
        irrelevant: Irrelevant {
            tails: &[(Tail::UnknownField, LATER_FIELDS)],
            ..Irrelevant::default()
        },
    }
    .check();
}

#[test]
fn of_a_root_document() {
    let first = Anchor::from_root_document(output("root-document", 0, "signed")).unwrap();
    Format {
        name: "root document",
        valid: &output("root-document", 1, "signed"),
        verify: &|bytes| {
            let next = first
                .root()
                .next(Bytes::copy_from_slice(bytes))
                .map_err(words)?;
            Ok(next.document().clone())
        },
        irrelevant: Irrelevant {
            tails: &[(Tail::UnknownField, LATER_FIELDS), (Tail::Again, MERGED)],
            ..Irrelevant::default()
        },
    }
    .check();
}

#[test]
fn of_an_anchor() {
    Format {
        name: "anchor",
        valid: registry::anchor("VN").to_json().as_bytes(),
        verify: &|bytes| {
            let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
            let anchor = Anchor::from_json(text).map_err(words)?;
            Ok(anchor.root().document().clone())
        },
        irrelevant: Irrelevant {
            cuts: &[(481, "the line feed at the end")],
            tails: &[b'\t', b'\n', b'\r', b' '].map(|byte| (Tail::Byte(byte), "space in JSON")),
            ..Irrelevant::default()
        },
    }
    .check();
}

/// An officer's changes as they are folded. That an entry is the one of the log is for its leaf.
#[test]
fn of_an_entry_with_changes() {
    let mut before = Fold::new("VN".parse().unwrap());
    before.entry(&output("entry", 0, "entry")).unwrap();
    Format {
        name: "entry",
        valid: &output("entry", 1, "entry"),
        verify: &|bytes| {
            let mut fold = before.clone();
            let folded = fold.entry(&Bytes::copy_from_slice(bytes));
            folded.map_err(|error| error.to_string())?;
            Ok((fold.size(), fold.state().root()))
        },
        irrelevant: Irrelevant {
            bytes: &[(
                4..10,
                "when the registry made it, which nobody asks: the leaf fixes it",
            )],
            tails: &[(Tail::UnknownField, LATER_FIELDS), (Tail::Again, MERGED)],
            ..Irrelevant::default()
        },
    }
    .check();
}

/// As a server reads it: the head names the number of keys and the root.
#[test]
fn of_a_snapshot() {
    let [snapshot, root] = ["snapshot", "root"].map(|field| output("state", 2, field));
    let size = vectors::read("state")["cases"][2]["output"]["size"]
        .as_u64()
        .unwrap();
    Format {
        name: "snapshot",
        valid: &snapshot,
        verify: &|bytes| {
            let (instance, bytes) = ("VN".parse().unwrap(), Bytes::copy_from_slice(bytes));
            let state = State::from_published(instance, bytes, size).map_err(words)?;
            let is_right = state.root().as_bytes() == root.as_ref();
            is_right
                .then_some(())
                .ok_or_else(|| "not the root of the head".to_owned())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
}

/// Of the state that the head in force names by root and size.
#[test]
fn of_a_proof_of_membership() {
    let [snapshot, root] = ["snapshot", "root"].map(|field| output("state", 2, field));
    let size = vectors::read("state")["cases"][2]["output"]["size"]
        .as_u64()
        .unwrap();
    let state = State::from_published("VN".parse().unwrap(), snapshot, size).unwrap();
    let key = "member/GOV/G01";
    let key = trust::configuration::StateKey::parse(state.instance(), key).unwrap();
    let [membership] = state.prove(&[key]).try_into().unwrap();
    Format {
        name: "proof of membership",
        valid: &membership.encode_to_vec(),
        verify: &|bytes| {
            let found = Membership::decode(bytes).map_err(|error| error.to_string())?;
            verify_membership(&found).map_err(words)?;
            if found.state_root != root || found.size != size {
                return Err("not the state of the head".to_owned());
            }
            Ok((found.key, found.value))
        },
        irrelevant: Irrelevant {
            tails: &[(Tail::UnknownField, LATER_FIELDS)],
            ..Irrelevant::default()
        },
    }
    .check();
}

/// The records of a bundle have to be the leaves of the registry's log.
#[test]
fn of_a_bundle_of_entries() {
    let root = |records: &[BundledRecord]| {
        Tree::new(records.iter().map(BundledRecord::leaf).collect()).root()
    };
    let bundle = output("tile", 8, "bundle");
    let logged = root(&BundledRecord::decode_all(&bundle).unwrap());
    Format {
        name: "bundle",
        valid: &bundle,
        verify: &|bytes| {
            let records = BundledRecord::decode_all(&Bytes::copy_from_slice(bytes));
            let records = records.ok_or("no bundle")?;
            let is_logged = root(&records) == logged;
            is_logged
                .then_some(())
                .ok_or_else(|| "not the root of the log".to_owned())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
}

#[test]
fn of_a_tile() {
    const SIZE: u64 = 7;
    let leaves: Vec<Digest> = (0..SIZE as u8).map(|leaf| Digest::of(&[leaf])).collect();
    let bytes: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
    let logged = Tree::new(leaves).root();
    let tile = Tile::of_size(0, 0, SIZE).unwrap();
    Format {
        name: "tile",
        valid: &bytes,
        verify: &|bytes| {
            let mut tree = TiledTree::new(SIZE);
            if !tree.insert(tile, bytes) {
                return Err("not as many hashes as the tile has".to_owned());
            }
            let root = merkle::root(&tree, SIZE).unwrap();
            (root == logged)
                .then_some(())
                .ok_or_else(|| "not the root of the log".to_owned())
        },
        irrelevant: Irrelevant::default(),
    }
    .check();
}

/// What another server answers about its log: kept promises stay kept, and no others are.
#[test]
fn of_an_answer_about_a_log() {
    let leaves: Vec<Digest> = (0..5).map(|leaf| Digest::of(&[leaf])).collect();
    let (tree, key) = (Tree::new(leaves.clone()), registry::key(2));
    let origin: Origin = "VN/GOV/G02/server-1/1".parse().unwrap();
    let checkpoint = Checkpoint {
        origin: origin.clone(),
        size: tree.size(),
        root: tree.root(),
    };
    let signed = checkpoint.sign(&key);
    let bytes = |hashes: Vec<Digest>| hashes.into_iter().map(Digest::to_bytes).collect();
    let promised = vec![1, 3];
    let proven: Vec<Digest> = promised.iter().map(|at| leaves[*at as usize]).collect();
    let mut log = PeerLog::default();
    for (at, leaf) in promised.iter().zip(&proven) {
        log.promised(*at, *leaf);
    }
    let answer = PeerCheckpoint {
        checkpoint: signed.as_bytes().clone(),
        inclusion: bytes(merkle::joint_proof(&tree, &promised, tree.size()).unwrap()),
        leaves: bytes(proven),
        ..PeerCheckpoint::default()
    };
    Format {
        name: "answer about a log",
        valid: &answer.encode_to_vec(),
        verify: &|mut bytes| {
            let mut answer =
                PeerCheckpoint::decode(&mut bytes).map_err(|error| error.to_string())?;
            // What was asked about is not for the answer to say.
            answer.promised.clone_from(&promised);
            assert!(!bytes.has_remaining());
            let judgement = log.judge(&answer, &origin, LogKey::of(&key).as_ref());
            match judgement.verdict() {
                KEPT => Ok(judgement),
                fault => Err(fault.to_owned()),
            }
        },
        irrelevant: Irrelevant {
            tails: &[(Tail::UnknownField, LATER_FIELDS)],
            ..Irrelevant::default()
        },
    }
    .check();
}
