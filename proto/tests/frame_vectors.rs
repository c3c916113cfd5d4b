//! Frames between security servers are what the committed vectors say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/fields.rs"]
mod fields;
#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/vectors.rs"]
mod vectors;

use prost::{Message, bytes::Bytes};
use proto::exchange::{Frame, frame::Body};
use serde_json::{Value, json};
use trust::message::UnverifiedMessage;

#[test]
fn frames_are_encoded_as_in_the_vectors() {
    vectors::check("frame", |_, input| {
        let encoded = fields::encode("exchange.v1.Frame", input);
        let frame = Frame::decode(encoded.clone()).unwrap();
        assert_eq!(frame.encode_to_vec(), encoded, "both encoders agree");
        let mut output = json!({
            "encoded": hex::encode(&encoded),
            "on_the_wire": hex::encode(with_prefix(&encoded)),
        });
        output["body"] = match frame.body {
            Some(Body::Envelope(envelope)) => {
                let message = UnverifiedMessage::parse(envelope).unwrap();
                json!({ "envelope_of": message.claimed_header().parties.exchange.to_string() })
            }
            Some(Body::TrustMaterial(material)) => {
                json!({ "intermediates": material.intermediates.len() })
            }
            Some(Body::Want(want)) => json!({ "digests": want.digests.len() }),
            None => Value::Null,
        };
        output
    });
}

/// The prefix of a gRPC message: not compressed, and its length in four bytes.
fn with_prefix(message: &Bytes) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, message].concat()
}
