//! No bytes make a parser panic, and what it accepts is what was signed or encoded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::{Message, bytes::Bytes};
use serde_json::Value;
use support::{fields, registry, signer::certificate_of, vectors};
use trust::{
    Content, Digest, ExchangeId, InstanceId, MethodPath, Reason, ServerId, SubsystemId,
    batch::VerifiedBatches,
    checkpoint::SignedCheckpoint,
    configuration::{Anchor, Fold, State, StateKey, VerifiedHead, verify_membership},
    header::Header,
    message::{SigningCertificate, UnverifiedMessage},
    record::leaf_preimage,
    tile::BundledRecord,
    wire::{
        configuration::Snapshot,
        evidence::{Envelope, Membership},
    },
};

/// The bytes of an output of a vector file.
fn output(name: &str, case: usize, field: &str) -> Vec<u8> {
    let file = vectors::read(name);
    fields::bytes(&file["cases"][case]["output"][field]).to_vec()
}

fn verify(envelope: &[u8], certificate: &SigningCertificate) -> Result<Digest, Reason> {
    // What is no message at all is refused by whoever reads the frame, under the same name.
    let envelope = Envelope::decode(envelope).map_err(|_| Reason::MalformedEnvelope)?;
    UnverifiedMessage::parse(envelope)
        .and_then(|unverified| unverified.verify(certificate, &VerifiedBatches::default()))
        .map(|verified| verified.digest())
        .map_err(|refusal| refusal.reason)
}

/// Some bytes, or those of a vector with a few of them changed, cut or inserted.
fn hostile(name: &'static str, case: usize, field: &'static str) -> impl Strategy<Value = Bytes> {
    let valid = output(name, case, field);
    let changes = vec((any::<Index>(), any::<u8>(), 0..3u8), 0..6);
    let changed = changes.prop_map(move |changes| {
        let mut bytes = valid.clone();
        for (place, byte, change) in changes {
            if bytes.is_empty() {
                break;
            }
            let place = place.index(bytes.len());
            match change {
                0 => bytes[place] = byte,
                1 => bytes.truncate(place),
                _ => bytes.insert(place, byte),
            }
        }
        bytes
    });
    prop_oneof![vec(any::<u8>(), 0..600), changed].prop_map(Bytes::from)
}

fn vn() -> InstanceId {
    "VN".parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_header_parses_or_is_refused(bytes in hostile("header", 0, "encoded")) {
        if let Ok(header) = Header::parse(&bytes) {
            prop_assert_eq!(Header::parse(&header.encode()).unwrap(), header);
        }
    }

    #[test]
    fn a_content_parses_or_is_refused(bytes in hostile("content", 0, "encoded")) {
        if let Ok(content) = Content::received(bytes).parse() {
            prop_assert_eq!(content.salt.len(), 16);
        }
    }

    #[test]
    fn an_envelope_verifies_only_if_it_says_what_was_signed(
        bytes in hostile("message", 0, "envelope"),
    ) {
        let certificate = certificate_of("VN/GOV/G01");
        if let Ok(digest) = verify(&bytes, &certificate) {
            prop_assert_eq!(digest.to_string(), signed_digest());
        }
    }

    #[test]
    fn a_record_has_a_leaf_or_is_refused(
        kind in 0..16u8,
        header in hostile("record", 0, "header"),
        signature in hostile("message", 0, "signature"),
        annex in hostile("record", 0, "annex"),
    ) {
        let _ = leaf_preimage(kind, &header, &signature, &annex);
        let _ = leaf_preimage(kind, &header, &Bytes::new(), &annex);
    }

    #[test]
    fn a_head_verifies_only_if_it_says_what_was_signed(bytes in hostile("head", 1, "head")) {
        if let Ok(head) = VerifiedHead::verify(bytes, registry::anchor("VN").root()) {
            prop_assert_eq!(head.serial(), 5);
        }
    }

    #[test]
    fn a_root_document_follows_only_if_it_was_signed(
        bytes in hostile("root-document", 1, "signed"),
    ) {
        let first = output("root-document", 0, "signed");
        let anchor = Anchor::from_root_document(first.into()).unwrap();
        if let Ok(next) = anchor.root().next(bytes) {
            prop_assert_eq!(next.document().version, 2);
        }
    }

    #[test]
    fn an_anchor_file_reads_or_is_refused(text in ".{0,200}", place in any::<Index>(), with in any::<char>()) {
        prop_assert!(Anchor::from_json(&text).is_err());
        let anchor = registry::anchor("VN");
        let valid = anchor.to_json();
        let place = place.index(valid.len());
        let changed = format!("{}{with}{}", &valid[..place], &valid[place + 1..]);
        if let Ok(read) = Anchor::from_json(&changed) {
            prop_assert_eq!(read.root().document(), anchor.root().document());
        }
    }

    #[test]
    fn an_entry_folds_or_leaves_the_fold_as_it_was(bytes in hostile("entry", 0, "entry")) {
        let mut fold = Fold::new(vn());
        if fold.entry(&bytes).is_err() {
            prop_assert_eq!((fold.size(), fold.state().len()), (0, 0));
        }
    }

    #[test]
    fn a_snapshot_reads_or_is_refused(bytes in hostile("state", 2, "snapshot")) {
        let published = (0..=16).find_map(|size| State::from_published(vn(), bytes.clone(), size).ok());
        let snapshot = Snapshot::decode(bytes).ok();
        let decoded = snapshot.and_then(|snapshot| State::from_snapshot(vn(), snapshot).ok());
        if let Some(published) = published {
            prop_assert_eq!(Some(published), decoded, "it reads no more than the decoder");
        }
    }

    #[test]
    fn a_membership_verifies_or_is_refused(bytes in hostile("state", 2, "snapshot")) {
        if let Ok(membership) = Membership::decode(bytes) {
            let _ = verify_membership(&membership);
        }
    }

    #[test]
    fn a_checkpoint_reads_or_is_refused(bytes in vec(any::<u8>(), 0..300), text in "[VN/\n0-9a-z=\u{2014} ]{0,200}") {
        let _ = SignedCheckpoint::parse(&bytes);
        let _ = SignedCheckpoint::parse(text.as_bytes());
    }

    #[test]
    fn a_bundle_reads_and_writes_the_same_bytes_or_is_refused(bytes in hostile("tile", 8, "bundle")) {
        if let Some(records) = BundledRecord::decode_all(&bytes) {
            let mut again = Vec::new();
            prop_assert!(records.iter().all(|record| record.encode(&mut again)));
            prop_assert_eq!(again, bytes.to_vec());
        }
    }

    #[test]
    fn a_text_that_names_something_names_it_in_one_way(text in "[A-Za-z0-9./_%é -]{0,80}|.{0,80}") {
        if let Ok(subsystem) = text.parse::<SubsystemId>() {
            prop_assert_eq!(subsystem.as_str(), text.as_str());
            let member = subsystem.member();
            prop_assert_eq!(member.instance(), subsystem.instance());
        }
        if let Ok(server) = text.parse::<ServerId>() {
            prop_assert_eq!(server.as_str(), text.as_str());
        }
        if let Ok(path) = MethodPath::parse(&text) {
            prop_assert_eq!(path.to_string(), text.clone());
        }
        if let Ok(key) = StateKey::parse(&vn(), &text) {
            prop_assert_eq!(key.to_string(), text.clone());
        }
        if let Ok(id) = text.parse::<ExchangeId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }
}

fn signed_digest() -> String {
    let file: Value = vectors::read("message");
    file["cases"][0]["output"]["message_digest"]
        .as_str()
        .unwrap()
        .to_owned()
}
