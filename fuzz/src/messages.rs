//! Messages: envelopes, headers, contents, frames, records, and the identifiers in them.

use std::{collections::HashSet, sync::LazyLock};

use bytes::Bytes;
use prost::Message;
use proto::exchange::{Frame, frame::Body};
use serde_json::Value;
use trust::{
    Content, Digest, ExchangeId, InstanceId, MemberId, MethodPath, ServerId, SubsystemId,
    batch::VerifiedBatches,
    checkpoint::Origin,
    configuration::StateKey,
    content::{METADATA_ENTRIES_LIMIT, SALT_LENGTH},
    header::Header,
    message::{SigningCertificate, UnverifiedMessage},
    record::leaf_preimage,
    signature::PublicKey,
    wire::evidence::Envelope,
};

use crate::seeds;

const MESSAGES: &str = "trust/tests/vectors/message.json";

/// The signers of the vectors, and the digests of all that they signed.
static SIGNED: LazyLock<(Vec<SigningCertificate>, HashSet<Vec<u8>>)> = LazyLock::new(|| {
    let keys: Value =
        serde_json::from_slice(&seeds::read("trust/tests/vectors/keys.json")).unwrap();
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    let signers = keys["signers"].as_object().unwrap().iter();
    let certificates = signers.map(|(member, signer)| SigningCertificate {
        digest: Digest::of(&bytes(&signer["certificate"])),
        member: member.parse().unwrap(),
        authority: Digest::of(&bytes(&keys["authority"])),
        not_before: signer["not_before"].as_i64().unwrap(),
        not_after: signer["not_after"].as_i64().unwrap(),
        public_key: PublicKey::ecdsa_p256(&bytes(&signer["public_key"]))
            .or_else(|_| PublicKey::rsa(&bytes(&signer["public_key"])))
            .unwrap(),
    });
    let digests = seeds::of(MESSAGES, &["message_digest"])
        .into_iter()
        .collect();
    (certificates.collect(), digests)
});

pub fn envelopes() -> Vec<Vec<u8>> {
    let refused = "trust/tests/vectors/envelope-refused.json";
    [
        seeds::of(MESSAGES, &["envelope"]),
        seeds::of(refused, &["encoded"]),
    ]
    .concat()
}

/// What verifies was signed.
pub fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else {
        return;
    };
    let Ok(message) = UnverifiedMessage::parse(envelope) else {
        return;
    };
    let (certificates, digests) = &*SIGNED;
    for certificate in certificates {
        if let Ok(verified) = message
            .clone()
            .verify(certificate, &VerifiedBatches::default())
        {
            assert!(digests.contains(verified.digest().as_bytes().as_slice()));
            let again = UnverifiedMessage::parse(verified.envelope()).unwrap();
            assert_eq!(again.claimed_header(), verified.header());
        }
    }
}

pub fn headers() -> Vec<Vec<u8>> {
    seeds::of("trust/tests/vectors/header.json", &["encoded"])
}

/// What was parsed is encoded and parsed to the same.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(Header::parse(&header.encode()).unwrap(), header);
    }
}

pub fn contents() -> Vec<Vec<u8>> {
    seeds::of("trust/tests/vectors/content.json", &["encoded"])
}

pub fn content(bytes: &[u8]) {
    let received = Content::received(Bytes::copy_from_slice(bytes));
    if let Ok(content) = received.parse() {
        assert_eq!(content.salt.len(), SALT_LENGTH);
        for metadata in [&content.metadata, &content.trailers].into_iter().flatten() {
            assert!(metadata.entries.len() <= METADATA_ENTRIES_LIMIT);
        }
        assert_eq!(Content::encode(&content).parse().unwrap(), content);
    }
}

pub fn frames() -> Vec<Vec<u8>> {
    seeds::of("proto/tests/vectors/frame.json", &["encoded"])
}

/// A frame that was decoded is encoded and decoded to the same, and is not much larger.
pub fn frame(bytes: &[u8]) {
    if let Ok(frame) = Frame::decode(bytes) {
        let again = frame.encode_to_vec();
        assert!(
            again.len() <= bytes.len(),
            "a varint may only become shorter"
        );
        assert_eq!(Frame::decode(again.as_slice()).unwrap(), frame);
        if let Some(Body::Envelope(envelope)) = frame.body {
            let _ = UnverifiedMessage::parse(envelope);
        }
    }
}

pub fn records() -> Vec<Vec<u8>> {
    let of = |name| seeds::of("trust/tests/vectors/record.json", &[name]);
    let signatures = seeds::of(MESSAGES, &["signature"]);
    let headers = of("header").into_iter().flat_map(|header| {
        let signatures = signatures.iter().take(2);
        let signed = signatures.map({
            let header = header.clone();
            move |signature| parts(1, &header, signature)
        });
        signed.chain([parts(4, &header, b"")]).collect::<Vec<_>>()
    });
    headers.collect()
}

/// Kind, length of the header in two bytes, header, signature.
fn parts(kind: u8, header: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).unwrap().to_be_bytes();
    [&[kind][..], &length, header, signature].concat()
}

/// A leaf says what its preimage says, and differs with the annex.
pub fn record(bytes: &[u8]) {
    let Some((&[kind, high, low], rest)) = bytes.split_first_chunk() else {
        return;
    };
    let at = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
    let (header, signature) = rest.split_at(at);
    let [header, signature] = [header, signature].map(Bytes::copy_from_slice);
    let leaf =
        |annex: &'static [u8]| leaf_preimage(kind, &header, &signature, &Bytes::from_static(annex));
    if let Ok(found) = leaf(b"annex") {
        assert_eq!(found.kind, kind);
        assert_ne!(found.leaf(), leaf(b"another").unwrap().leaf());
    }
}

pub fn identifiers() -> Vec<Vec<u8>> {
    let vectors: Value =
        serde_json::from_slice(&seeds::read("trust/tests/vectors/identifier.json")).unwrap();
    let mut texts = Vec::new();
    strings(&vectors, &mut texts);
    texts
}

fn strings(value: &Value, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) => found.push(text.clone().into()),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, found)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        _ => {}
    }
}

/// What a text names, it names in one way.
pub fn identifier(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    macro_rules! same {
        ($($kind:ty),*) => {$(
            if let Ok(named) = text.parse::<$kind>() {
                assert_eq!(named.to_string(), text);
            }
        )*};
    }
    same!(
        InstanceId,
        MemberId,
        SubsystemId,
        ServerId,
        ExchangeId,
        Origin
    );
    if let Ok(path) = MethodPath::parse(text) {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(key) = StateKey::parse(&"VN".parse().unwrap(), text) {
        assert_eq!(key.to_string(), text);
    }
}
