//! Every byte of a frame counts: changed, cut or followed by others it is none, or another one.
//! Whether an envelope or a certificate in it may be believed is asked where they are verified.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/every_byte.rs"]
mod every_byte;
#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/fields.rs"]
mod fields;
#[allow(dead_code, reason = "a part of what the tests of trust share")]
#[path = "../../trust/tests/support/vectors.rs"]
mod vectors;

use every_byte::{Format, Irrelevant, Tail};
use prost::Message;
use proto::exchange::{Frame, frame::Body};

#[test]
fn of_a_frame() {
    const LATER_FIELDS: &str = "fields that this version does not know are passed over";
    const MERGED: &str = "of a field that stands there twice the last counts, and it is the same";
    for case in vectors::read("frame")["cases"].as_array().unwrap() {
        let encoded = fields::bytes(&case["output"]["encoded"]);
        let sent = Frame::decode(encoded.clone()).unwrap().body;
        let alone = [(Tail::UnknownField, LATER_FIELDS), (Tail::Again, MERGED)];
        // Lists grow when they are merged.
        let tails = match &sent {
            Some(Body::TrustMaterial(material)) if material.intermediates.is_empty() => &alone[..],
            Some(Body::Envelope(_)) | None => &alone[..],
            _ => &alone[..1],
        };
        Format {
            name: case["description"].as_str().unwrap(),
            valid: &encoded,
            verify: &|bytes| {
                let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
                (frame.body == sent)
                    .then_some(())
                    .ok_or_else(|| "another frame".to_owned())
            },
            irrelevant: Irrelevant {
                tails,
                ..Irrelevant::default()
            },
        }
        .check();
    }
}
