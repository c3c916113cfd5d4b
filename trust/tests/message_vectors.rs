//! Headers, contents, manifests, signatures and envelopes are what the committed vectors say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use prost::{Message, bytes::Bytes};
use serde_json::{Value, json};
use support::{fields, signer::VectorSigner, vectors};
use trust::{
    Content, Digest, Refusal,
    batch::VerifiedBatches,
    exchange::{ConsumerExchange, ProviderExchange},
    header::{Direction, Header},
    message::{KeptMessage, SignedMessage, UnverifiedMessage},
    signature::{SIGNED_ATTRIBUTES_LENGTH, manifest, signed_attributes},
    wire::evidence::Envelope,
};

fn refused(refusal: &Refusal) -> Value {
    json!({ "refused": refusal.reason.name(), "explanation": refusal.explanation })
}

#[test]
fn headers_are_encoded_and_refused_as_in_the_vectors() {
    vectors::check("header", |_, input| {
        let encoded = fields::encode("evidence.v1.MessageHeader", input);
        match Header::parse(&encoded) {
            Ok(header) => {
                assert_eq!(header.encode(), encoded, "both encoders agree");
                json!({
                    "encoded": hex::encode(&encoded),
                    "digest": Digest::of(&encoded).to_string(),
                })
            }
            Err(refusal) => {
                let mut output = refused(&refusal);
                if encoded.len() < 1024 {
                    output["encoded"] = hex::encode(&encoded).into();
                }
                output
            }
        }
    });
}

#[test]
fn contents_are_encoded_and_refused_as_in_the_vectors() {
    vectors::check("content", |_, input| {
        let encoded = match input.get("encoded") {
            Some(encoded) => fields::bytes(encoded),
            None => fields::encode("evidence.v1.MessageContent", &input["fields"]),
        };
        let content = Content::received(encoded.clone());
        let mut output = match content.parse() {
            Ok(parsed) => {
                assert_eq!(*Content::encode(&parsed).bytes(), encoded);
                json!({ "has_message": parsed.message.is_some() })
            }
            Err(refusal) => refused(&refusal),
        };
        if encoded.len() < 1024 {
            output["encoded"] = hex::encode(&encoded).into();
        }
        output["digest"] = content.digest().to_string().into();
        output
    });
}

/// Makes the message of an input and verifies it as its receiver would.
fn message(keys: &Value, input: &mut Value) -> (SignedMessage, Value) {
    let content = fields::encode("evidence.v1.MessageContent", &input["content"]);
    let mut header = input["header"].clone();
    header["content_digest"] = Digest::of(&content).to_string().into();
    let header_bytes = fields::encode("evidence.v1.MessageHeader", &header);
    let header = Header::parse(&header_bytes).unwrap();

    let member = input["signer"].as_str().unwrap().to_owned();
    let signer_keys = &keys["signers"][&member];
    let certificate = VectorSigner::certificate(signer_keys, keys, &member);
    let manifest = manifest(
        header.direction,
        header.sequence,
        &Digest::of(&header_bytes),
        &Digest::of(&content),
    );
    let digest = Digest::of(manifest.as_bytes());
    let attributes = signed_attributes(header.created_at, &digest, &certificate.digest).unwrap();
    let known = input.get("signature").map(fields::bytes);
    let value = known.filter(|value| {
        !vectors::writing() || certificate.public_key.verify(&attributes, value).is_ok()
    });
    let signer = VectorSigner {
        keys: signer_keys,
        value,
    };
    let signed = SignedMessage::sign(header, Content::received(content.clone()), &signer).unwrap();
    input["signature"] = hex::encode(signed.signature_value()).into();

    let envelope = Bytes::from(signed.envelope().encode_to_vec());
    let received = UnverifiedMessage::parse(Envelope::decode(envelope.clone()).unwrap()).unwrap();
    let verification = match received.verify(&certificate, &VerifiedBatches::default()) {
        Ok(verified) => {
            assert_eq!(verified.digest(), digest);
            let kept = KeptMessage::parse(header_bytes.clone(), Some(signed.signature().clone()));
            let kept = kept.unwrap();
            assert_eq!(kept.signed_attributes().unwrap(), attributes);
            let batches = VerifiedBatches::default();
            let without_content = kept.verify(&certificate, &batches).unwrap();
            assert_eq!(
                without_content, digest,
                "a log can verify it when the content is gone"
            );
            json!({ "verified": true })
        }
        Err(refusal) => refused(&refusal),
    };
    assert_eq!(*signed.header_bytes(), header_bytes);
    assert_eq!(attributes.len(), SIGNED_ATTRIBUTES_LENGTH);
    let output = json!({
        "content": hex::encode(&content),
        "content_digest": Digest::of(&content).to_string(),
        "header": hex::encode(&header_bytes),
        "header_digest": Digest::of(&header_bytes).to_string(),
        "manifest": manifest,
        "message_digest": digest.to_string(),
        "signed_attributes": hex::encode(attributes),
        "signature": hex::encode(signed.signature().encode_to_vec()),
        "envelope": hex::encode(&envelope),
        "verification": verification,
    });
    (signed, output)
}

#[test]
fn messages_are_made_and_verified_as_in_the_vectors() {
    let keys = vectors::read("keys");
    vectors::check("message", |_, input| message(&keys, input).1);
}

#[test]
fn the_chain_of_an_exchange_is_made_and_followed_as_in_the_vectors() {
    let keys = vectors::read("keys");
    let mut requests: Vec<Digest> = Vec::new();
    let mut replies: Vec<Digest> = Vec::new();
    let mut sides: Option<(ConsumerExchange, ProviderExchange)> = None;
    vectors::check("exchange", |_, input| {
        let answers = input.get("answers").and_then(Value::as_u64);
        let before = if answers.is_some() {
            &replies
        } else {
            &requests
        };
        if let Some(previous) = before.last() {
            input["header"]["previous_digest"] = previous.to_string().into();
        }
        if let Some(newest) = answers {
            let header = &mut input["header"];
            header["first_request_digest"] = requests[0].to_string().into();
            header["newest_request_sequence"] = newest.into();
            header["newest_request_digest"] = requests[newest as usize].to_string().into();
        }
        let (signed, output) = message(&keys, input);
        let (header, digest) = (signed.header(), signed.digest());
        let signature = Digest::of(signed.signature_value());
        match (header.direction, &mut sides) {
            (Direction::Request, None) => {
                let mut consumer = ConsumerExchange::open(header.parties.clone());
                consumer.sign_off(header, digest, signature).unwrap();
                let provider = ProviderExchange::open(header, digest).unwrap();
                sides = Some((consumer, provider));
            }
            (Direction::Request, Some((consumer, provider))) => {
                consumer.sign_off(header, digest, signature).unwrap();
                provider.accept_request(header, digest).unwrap();
            }
            (Direction::Reply, Some((consumer, provider))) => {
                provider.sign_off(header, digest).unwrap();
                consumer.accept_reply(header, digest).unwrap();
            }
            (Direction::Reply, None) => panic!("the exchange begins with a request"),
        }
        match header.direction {
            Direction::Request => requests.push(digest),
            Direction::Reply => replies.push(digest),
        }
        output
    });
    let (consumer, provider) = sides.unwrap();
    assert!(consumer.replies().is_finished() && provider.requests().is_finished());
    assert_eq!(consumer.first_request(), Some(provider.first_request()));
}

#[test]
fn envelopes_are_refused_as_in_the_vectors() {
    let keys = vectors::read("keys");
    vectors::check("envelope-refused", |_, input| {
        let encoded = fields::encode("evidence.v1.Envelope", &input["envelope"]);
        let member = input["certificate"].as_str().unwrap();
        let certificate = VectorSigner::certificate(&keys["signers"][member], &keys, member);
        let outcome = UnverifiedMessage::parse(Envelope::decode(encoded.clone()).unwrap())
            .and_then(|unverified| unverified.verify(&certificate, &VerifiedBatches::default()));
        let mut output = refused(&outcome.err().expect("it is refused"));
        output["encoded"] = hex::encode(&encoded).into();
        output
    });
}
