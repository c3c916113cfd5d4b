//! Batch signatures are made as in the committed vectors, and verified one message at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{Message, bytes::Bytes};
use serde_json::json;
use support::{
    every_byte::{Format, Irrelevant, Tail},
    fields,
    signer::VectorSigner,
    vectors,
};
use trust::{
    Content, Digest, Reason,
    batch::{self, MAX_BATCH, ToSign, VerifiedBatches, leaf_of},
    header::Header,
    merkle::Tree,
    message::{SignedMessage, SigningCertificate, UnsignedMessage, UnverifiedMessage},
    signature::{batch_manifest, signed_attributes},
    wire::evidence::{
        CadesBatchSignature, Envelope, MessageContent, MessageHeader, signature::Form,
    },
};

#[test]
fn batches_are_signed_as_in_the_vectors() {
    let keys = vectors::read("keys");
    vectors::check("batch", |_, input| {
        let member = input["signer"].as_str().unwrap().to_owned();
        let messages: Vec<_> = input["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| ToSign {
                digest: Digest::from_slice(&fields::bytes(&message["digest"])).unwrap(),
                created_at: message["created_at"].as_i64().unwrap(),
            })
            .collect();
        let signer_keys = &keys["signers"][&member];
        let certificate = VectorSigner::certificate(signer_keys, &keys, &member);
        let tree = Tree::new(messages.iter().map(|one| leaf_of(&one.digest)).collect());
        let manifest = batch_manifest(&tree.root());
        let at = messages.iter().map(|one| one.created_at).max().unwrap();
        let signed = Digest::of(manifest.as_bytes());
        let attributes = signed_attributes(at, &signed, &certificate.digest).unwrap();
        let known = input.get("signature").map(fields::bytes);
        let value = known.filter(|value| {
            !vectors::writing() || certificate.public_key.verify(&attributes, value).is_ok()
        });
        let signer = VectorSigner {
            keys: signer_keys,
            value,
        };
        let made = batch::sign(&messages, &signer).unwrap();
        let encoded = made
            .iter()
            .map(|made| hex::encode(made.wire().encode_to_vec()));
        let output = json!({
            "root": tree.root().to_string(),
            "manifest": manifest,
            "signed_attributes": hex::encode(attributes),
            "signatures": encoded.collect::<Vec<_>>(),
        });
        let Some(Form::CadesBatchV1(first)) = &made[0].wire().form else {
            panic!("a batch is signed as one");
        };
        certificate
            .public_key
            .verify(&attributes, &first.value)
            .unwrap();
        input["signature"] = hex::encode(&first.value).into();
        output
    });
}

struct Batch {
    messages: Vec<SignedMessage>,
    certificate: SigningCertificate,
}

/// A batch of requests, signed anew.
fn batch_of(count: usize) -> Batch {
    let keys = vectors::read("keys");
    let vector = vectors::read("message");
    let input = &vector["cases"][0]["input"];
    let member = "VN/GOV/G01";
    let signer_keys = &keys["signers"][member];
    let certificate = VectorSigner::certificate(signer_keys, &keys, member);
    let signer = VectorSigner {
        keys: signer_keys,
        value: None,
    };
    let unsigned: Vec<_> = (0..count)
        .map(|number| {
            let mut header: MessageHeader =
                fields::decode("evidence.v1.MessageHeader", &input["header"]);
            header.created_at += number as i64 % 3;
            header.request_id = format!("request {number}");
            header.content_digest = vec![0; 32].into();
            let content = Content::encode(&MessageContent {
                salt: Bytes::from(vec![number as u8; 16]),
                ..MessageContent::default()
            });
            let header = Header::parse(&header.encode_to_vec()).unwrap();
            UnsignedMessage::new(header, content)
        })
        .collect();
    let to_sign: Vec<_> = unsigned.iter().map(UnsignedMessage::to_sign).collect();
    let made = batch::sign(&to_sign, &signer).unwrap();
    let messages = unsigned.into_iter().zip(made);
    Batch {
        messages: messages
            .map(|(message, made)| message.signed(made).unwrap())
            .collect(),
        certificate,
    }
}

#[test]
fn each_message_of_a_batch_of_any_size_verifies_alone() {
    for count in [2, 3, 4, 5, 31, MAX_BATCH] {
        let batch = batch_of(count);
        for message in &batch.messages {
            let received = UnverifiedMessage::parse(message.envelope()).unwrap();
            let verified = received.verify(&batch.certificate, &VerifiedBatches::default());
            assert_eq!(verified.unwrap().digest(), message.digest());
        }
    }
}

#[test]
fn a_lone_message_is_signed_alone() {
    let batch = batch_of(1);
    let form = &batch.messages[0].signature().form;
    assert!(matches!(form, Some(Form::CadesV1(_))));
}

/// What is remembered of a batch must not vouch for anything else.
#[test]
fn a_remembered_batch_vouches_for_no_other_message() {
    let batch = batch_of(7);
    let memory = VerifiedBatches::default();
    let refused = |change: &dyn Fn(&mut CadesBatchSignature)| {
        let mut envelope = batch.messages[2].envelope();
        if let Some(Form::CadesBatchV1(signature)) = &mut envelope.signature.as_mut().unwrap().form
        {
            change(signature);
        }
        UnverifiedMessage::parse(envelope)
            .and_then(|received| received.verify(&batch.certificate, &memory))
            .map(|verified| verified.digest())
            .map_err(|refusal| refusal.reason)
    };
    assert_eq!(refused(&|_| ()), Ok(batch.messages[2].digest()));
    let invalid = Err(Reason::InvalidSignature);
    assert_eq!(refused(&|signature| signature.position = 3), invalid);
    assert_eq!(refused(&|signature| signature.signing_time += 1), invalid);
    assert_eq!(refused(&|signature| signature.path.swap(0, 1)), invalid);
    let flip = |bytes: &Bytes| {
        let mut bytes = bytes.to_vec();
        bytes[8] ^= 1;
        Bytes::from(bytes)
    };
    assert_eq!(
        refused(&|signature| signature.value = flip(&signature.value)),
        invalid
    );
    assert_eq!(
        refused(&|signature| signature.path[1] = flip(&signature.path[1])),
        invalid
    );
    // The path of another message, with its position.
    let Some(Form::CadesBatchV1(other)) = batch.messages[5].signature().form.clone() else {
        panic!("a batch is signed as one");
    };
    assert_eq!(refused(&|signature| *signature = other.clone()), invalid);
}

#[test]
fn every_byte_of_an_envelope_that_was_signed_in_a_batch_counts() {
    // The root says nothing of it; other counts give the third message a path of the same form.
    const COUNT: &str = "how many messages the batch had, as far as the path tells";
    let batch = batch_of(7);
    let message = &batch.messages[2];
    let envelope = message.envelope().encode_to_vec();
    // Fields 4 and 5: of seven messages, the third.
    let numbers = b"\x20\x07\x28\x02";
    let count = envelope
        .windows(4)
        .position(|bytes| bytes == numbers)
        .unwrap()
        + 1;
    for memory in [
        VerifiedBatches::default(),
        remembering(message, &batch.certificate),
    ] {
        Format {
            name: "envelope signed in a batch",
            valid: &envelope,
            verify: &|bytes| {
                let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
                let received = UnverifiedMessage::parse(envelope);
                let verified = received.and_then(|it| it.verify(&batch.certificate, &memory));
                let digest = verified.map(|message| message.digest());
                digest.map_err(|refusal| refusal.reason.name().to_owned())
            },
            irrelevant: Irrelevant {
                bytes: &[(count..count + 1, COUNT)],
                tails: &[(
                    Tail::UnknownField,
                    "fields of later versions are passed over",
                )],
                ..Irrelevant::default()
            },
        }
        .check();
    }
}

fn remembering(message: &SignedMessage, certificate: &SigningCertificate) -> VerifiedBatches {
    let memory = VerifiedBatches::default();
    let received = UnverifiedMessage::parse(message.envelope()).unwrap();
    received.verify(certificate, &memory).unwrap();
    memory
}

#[test]
fn a_signature_is_given_to_no_other_message() {
    let batch = batch_of(2);
    let unsigned = |message: &SignedMessage| {
        UnsignedMessage::new(message.header().clone(), message.content().clone())
    };
    let keys = vectors::read("keys");
    let signer = VectorSigner {
        keys: &keys["signers"]["VN/GOV/G01"],
        value: None,
    };
    let [first, second] = [0, 1].map(|index| unsigned(&batch.messages[index]));
    let made = batch::sign(&[first.to_sign()], &signer).unwrap().remove(0);
    assert!(second.signed(made.clone()).is_err());
    assert!(first.signed(made).is_ok());
}

#[test]
fn more_than_a_batch_is_not_signed_at_once() {
    let keys = vectors::read("keys");
    let signer = VectorSigner {
        keys: &keys["signers"]["VN/GOV/G01"],
        value: None,
    };
    let one = batch_of(2).messages[0].clone();
    let message = ToSign {
        digest: one.digest(),
        created_at: one.header().created_at,
    };
    assert!(batch::sign(&[message; MAX_BATCH], &signer).is_ok());
    assert!(batch::sign(&[message; MAX_BATCH + 1], &signer).is_err());
    assert!(batch::sign(&[], &signer).unwrap().is_empty());
}
