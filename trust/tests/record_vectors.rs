//! Annexes, local records and leaves are what the committed vectors say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{Message, bytes::Bytes};
use serde_json::json;
use support::{fields, vectors};
use trust::{
    Digest,
    record::leaf_preimage,
    wire::{
        configuration::Entry,
        evidence::{
            Annex, CertificateRecord, Change, ClockAccepted, Closing, Erased, Membership,
            MessageHeader, PeerCheckpoint, RecordKind, RefusedAction, SecurityEvent, Torn,
        },
    },
};

/// Encodes anew with the type that the program uses.
fn encoded_again(kind: RecordKind, header: &Bytes) -> Vec<u8> {
    fn again<T: Message + Default>(bytes: &Bytes) -> Vec<u8> {
        T::decode(bytes.clone()).unwrap().encode_to_vec()
    }
    match kind {
        RecordKind::Message => again::<MessageHeader>(header),
        RecordKind::Closing => again::<Closing>(header),
        RecordKind::Security => again::<SecurityEvent>(header),
        RecordKind::Change => again::<Change>(header),
        RecordKind::Certificate => again::<CertificateRecord>(header),
        RecordKind::Membership => again::<Membership>(header),
        RecordKind::Torn => again::<Torn>(header),
        RecordKind::Erased => again::<Erased>(header),
        RecordKind::Clock => again::<ClockAccepted>(header),
        RecordKind::PeerCheckpoint => again::<PeerCheckpoint>(header),
        RecordKind::RefusedAction => again::<RefusedAction>(header),
        RecordKind::Entry => again::<Entry>(header),
        RecordKind::Unspecified | RecordKind::RootDocument | RecordKind::Head => header.to_vec(),
    }
}

#[test]
fn records_have_the_leaves_of_the_vectors() {
    vectors::check("record", |_, input| {
        let kind = RecordKind::from_str_name(input["kind"].as_str().unwrap()).unwrap();
        let header = fields::bytes(&input["header"]);
        assert_eq!(encoded_again(kind, &header), header);
        let annex = fields::encode("evidence.v1.Annex", &input["annex"]);
        assert_eq!(Annex::decode(annex.clone()).unwrap().encode_to_vec(), annex);
        let signature = input
            .get("signature")
            .map(fields::bytes)
            .unwrap_or_default();
        let mut output = json!({
            "header": hex::encode(&header),
            "annex": hex::encode(&annex),
            "annex_digest": Digest::of(&annex).to_string(),
        });
        match leaf_preimage(kind as u8, &header, &signature, &annex) {
            Ok(preimage) => {
                output["message_digest"] = preimage.message_digest.to_string().into();
                output["signature_digest"] = preimage.signature_digest.to_string().into();
                output["leaf_preimage"] = hex::encode(preimage.encode()).into();
                output["leaf"] = preimage.leaf().to_string().into();
            }
            Err(refusal) => {
                output["refused"] = refusal.reason.name().into();
                output["explanation"] = refusal.explanation.into();
            }
        }
        output
    });
}
