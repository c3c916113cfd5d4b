//! What a message costs in this crate, part by part: made, carried, verified, decided upon, recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs
)]

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use divan::{Bencher, black_box, counter::ItemsCount};
use prost::{Message, bytes::Bytes};
use serde_json::json;
use trust::{
    Content, Digest, ExchangeId, MethodPath, ServerId,
    access::{AccessRight, Question, decide},
    batch::{self, ToSign, VerifiedBatches},
    header::{Direction, Header, Parties, Statements},
    leaf::LeafPreimage,
    message::{SignedMessage, SigningCertificate, UnsignedMessage, UnverifiedMessage},
    record::leaf_preimage,
    signature::{PublicKey, Signer, SigningFailed, message_digest, signed_attributes},
    wire::evidence::{Envelope, MessageContent, Metadata, MetadataEntry, RecordKind},
};

#[path = "../tests/support/mod.rs"]
mod support;

use support::registry;

/// Lengths of the gRPC message.
const PAYLOADS: [usize; 4] = [200, 4096, 65536, 1_048_576];
/// How many messages are signed together.
const BATCHES: [u32; 3] = [1, 8, 64];
const NOW: i64 = 1_800_000_000;

fn main() {
    divan::main();
}

#[divan::bench(args = PAYLOADS)]
fn a1_content_encoded_and_hashed(bencher: Bencher<'_, '_>, payload: usize) {
    let content = content(payload);
    bencher.bench(|| Content::encode(black_box(&content)));
}

#[divan::bench]
fn a2_header_encoded(bencher: Bencher<'_, '_>) {
    let header = header(Digest::of(b""));
    bencher.bench(|| black_box(&header).encode());
}

#[divan::bench]
fn a3_manifest_and_attributes(bencher: Bencher<'_, '_>) {
    let header = header(Digest::of(b"")).encode();
    let (content, certificate) = (Digest::of(b"content"), Digest::of(b"certificate"));
    bencher.bench(|| {
        let header = Digest::of(black_box(&header));
        let digest = message_digest(Direction::Request, 0, &header, &content);
        signed_attributes(NOW, &digest, &certificate).unwrap()
    });
}

#[divan::bench]
fn a4_attributes_signed(bencher: Bencher<'_, '_>) {
    let key = Key::generate();
    bencher.bench(|| key.sign(black_box(&[7; 165])).unwrap());
}

#[divan::bench(args = PAYLOADS)]
fn b1_envelope_encoded(bencher: Bencher<'_, '_>, payload: usize) {
    let envelope = signed(payload, &Key::generate()).envelope();
    bencher.bench(|| black_box(&envelope).encode_to_vec());
}

#[divan::bench(args = PAYLOADS)]
fn b2_envelope_decoded(bencher: Bencher<'_, '_>, payload: usize) {
    let bytes: Bytes = signed(payload, &Key::generate())
        .envelope()
        .encode_to_vec()
        .into();
    bencher.bench(|| Envelope::decode(black_box(&bytes).clone()).unwrap());
}

#[divan::bench(args = PAYLOADS)]
fn c1_header_parsed_and_content_hashed(bencher: Bencher<'_, '_>, payload: usize) {
    let envelope = signed(payload, &Key::generate()).envelope();
    bencher.bench(|| UnverifiedMessage::parse(black_box(&envelope).clone()).unwrap());
}

#[divan::bench]
fn c2_signature_verified(bencher: Bencher<'_, '_>) {
    let key = Key::generate();
    let (attributes, public) = ([7; 165], key.public());
    let signature = key.sign(&attributes).unwrap();
    bencher.bench(|| public.verify(black_box(&attributes), &signature).unwrap());
}

#[divan::bench(args = PAYLOADS)]
fn c3_content_parsed(bencher: Bencher<'_, '_>, payload: usize) {
    let content = Content::encode(&content(payload));
    bencher.bench(|| black_box(&content).parse().unwrap());
}

#[divan::bench]
fn c4_speaker_checked(bencher: Bencher<'_, '_>) {
    let (peer, authority) = (b"the peer's certificate", b"the authority");
    let configuration = registry::published(registry::state(&json!({
        "member/GOV/G01": {}, "member/GOV/G02": {},
        "subsystem/GOV/G01/desk": {}, "subsystem/GOV/G02/population": {},
        "server/GOV/G01/server-1": { "address": "a:1" },
        "server/GOV/G02/server-1": { "address": "b:1" },
        "registration/GOV/G01/server-1/GOV/G01/desk": { "enabled": true },
        (format!("authentication/{}", Digest::of(peer))):
            { "server": "GOV/G01/server-1" },
        (format!("authority/{}", Digest::of(authority))):
            { "certificate": { "text": "the authority" }, "signing": true },
    })));
    let (header, peer) = (header(Digest::of(b"")), Digest::of(peer));
    let certificate = SigningCertificate {
        authority: Digest::of(authority),
        ..Key::generate().certificate()
    };
    let ours: ServerId = "VN/GOV/G02/server-1".parse().unwrap();
    bencher.bench(|| {
        configuration
            .check_speaker(black_box(&header), &certificate, &peer, &ours, NOW)
            .unwrap();
    });
}

#[divan::bench]
fn d1_access_decided(bencher: Bencher<'_, '_>) {
    let Parties {
        client,
        service,
        method,
        ..
    } = parties();
    let right = AccessRight {
        client: client.clone(),
        service: service.clone(),
        grpc_service: method.service().to_owned(),
        methods: Vec::new(),
        purposes: Vec::new(),
        valid_from: None,
        valid_until: None,
    };
    let question = Question {
        client: &client,
        service: &service,
        method: &method,
        purpose: "",
        at: NOW,
    };
    bencher.bench(|| decide([(7, black_box(&right))].into_iter(), &question).unwrap());
}

#[divan::bench]
fn e1_leaf_of_a_record(bencher: Bencher<'_, '_>) {
    let message = signed(200, &Key::generate());
    let annex = [7; 200];
    bencher.bench(|| {
        let preimage = LeafPreimage {
            kind: RecordKind::Message as u8,
            message_digest: message.digest(),
            signature_digest: Digest::of(black_box(message.signature_value())),
            annex_digest: Digest::of(black_box(&annex)),
        };
        preimage.leaf()
    });
}

#[divan::bench]
fn e2_leaf_of_a_record_that_was_read(bencher: Bencher<'_, '_>) {
    let message = signed(200, &Key::generate());
    let signature = message.signature().encode_to_vec().into();
    let annex = Bytes::from_static(&[7; 200]);
    bencher.bench(|| {
        let kind = RecordKind::Message as u8;
        let header = black_box(message.header_bytes());
        leaf_preimage(kind, header, &signature, &annex)
            .unwrap()
            .leaf()
    });
}

/// Messages of one batch, with one signature; the figure is of all of them.
#[divan::bench(args = BATCHES)]
fn batch_signed(bencher: Bencher<'_, '_>, batch: u32) {
    let (key, to_sign) = (Key::generate(), to_sign(batch));
    bencher
        .counter(ItemsCount::new(batch))
        .bench(|| batch::sign(black_box(&to_sign), &key).unwrap());
}

/// The same messages verified one after the other, by one who has seen none of them.
#[divan::bench(args = BATCHES)]
fn batch_verified(bencher: Bencher<'_, '_>, batch: u32) {
    let key = Key::generate();
    let messages: Vec<_> = (0..batch).map(unsigned).collect();
    let waiting: Vec<_> = messages.iter().map(UnsignedMessage::to_sign).collect();
    let made = batch::sign(&waiting, &key).unwrap();
    let envelopes: Vec<_> = messages
        .into_iter()
        .zip(made)
        .map(|(message, made)| message.signed(made).unwrap().envelope())
        .collect();
    let certificate = key.certificate();
    bencher.counter(ItemsCount::new(batch)).bench(|| {
        let batches = VerifiedBatches::default();
        for envelope in black_box(&envelopes) {
            let unverified = UnverifiedMessage::parse(envelope.clone()).unwrap();
            unverified.verify(&certificate, &batches).unwrap();
        }
    });
}

/// The sum of `a1` to `a4`.
#[divan::bench(args = PAYLOADS)]
fn whole_made_and_signed(bencher: Bencher<'_, '_>, payload: usize) {
    let (key, content) = (Key::generate(), content(payload));
    bencher.bench(|| {
        let content = Content::encode(black_box(&content));
        SignedMessage::sign(header(content.digest()), content, &key).unwrap()
    });
}

/// The sum of `a3` and `c1` to `c3`.
#[divan::bench(args = PAYLOADS)]
fn whole_verified(bencher: Bencher<'_, '_>, payload: usize) {
    let key = Key::generate();
    let (envelope, certificate) = (signed(payload, &key).envelope(), key.certificate());
    let batches = VerifiedBatches::default();
    bencher.bench(|| {
        let unverified = UnverifiedMessage::parse(black_box(&envelope).clone()).unwrap();
        let message = unverified.verify(&certificate, &batches).unwrap();
        message.content().parse().unwrap()
    });
}

/// A signing key as a server holds it.
struct Key {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Key {
    fn generate() -> Self {
        Self {
            pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            random: SystemRandom::new(),
        }
    }

    fn public(&self) -> PublicKey {
        PublicKey::ecdsa_p256(self.pair.public_key().as_ref()).unwrap()
    }

    fn certificate(&self) -> SigningCertificate {
        SigningCertificate {
            digest: self.certificate_digest(),
            member: "VN/GOV/G01".parse().unwrap(),
            authority: Digest::of(b"authority"),
            not_before: NOW,
            not_after: NOW,
            public_key: self.public(),
        }
    }
}

impl Signer for Key {
    fn certificate_digest(&self) -> Digest {
        Digest::of(b"certificate")
    }

    fn sign(&self, signed_attributes: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let signature = self.pair.sign(&self.random, signed_attributes);
        Ok(signature.unwrap().as_ref().to_vec())
    }
}

fn signed(payload: usize, key: &Key) -> SignedMessage {
    let content = Content::encode(&content(payload));
    SignedMessage::sign(header(content.digest()), content, key).unwrap()
}

/// Each is the first request of an exchange of its own.
fn unsigned(number: u32) -> UnsignedMessage {
    let content = Content::encode(&content(200));
    let mut header = header(content.digest());
    header.parties.exchange =
        ExchangeId::from_parts(1_800_000_000_000 + u64::from(number), &[7; 10]);
    UnsignedMessage::new(header, content)
}

fn to_sign(batch: u32) -> Vec<ToSign> {
    (0..batch)
        .map(|number| unsigned(number).to_sign())
        .collect()
}

fn content(payload: usize) -> MessageContent {
    MessageContent {
        salt: Bytes::from_static(&[7; 16]),
        metadata: Some(Metadata {
            entries: vec![MetadataEntry {
                key: "x-request-id".to_owned(),
                value: Bytes::from_static(b"4711"),
            }],
        }),
        content_type: "application/grpc".to_owned(),
        user_agent: "tonic/0.14".to_owned(),
        message: Some(vec![7; payload].into()),
        ..MessageContent::default()
    }
}

fn header(content_digest: Digest) -> Header {
    Header {
        parties: parties(),
        direction: Direction::Request,
        sequence: 0,
        is_final: true,
        refusal_code: None,
        configuration_serial: 1,
        created_at: NOW,
        deadline_milliseconds: None,
        statements: Statements::default(),
        previous: None,
        answers: None,
        status_code: None,
        promise: None,
        content_digest,
    }
}

fn parties() -> Parties {
    Parties {
        instance: "VN".parse().unwrap(),
        exchange: ExchangeId::from_parts(1_800_000_000_000, &[7; 10]),
        client: "VN/GOV/G01/desk".parse().unwrap(),
        service: "VN/GOV/G02/population".parse().unwrap(),
        method: MethodPath::parse("/vn.population.v1.Population/LookUp").unwrap(),
        consumer: "VN/GOV/G01/server-1".parse().unwrap(),
        provider: "VN/GOV/G02/server-1".parse().unwrap(),
    }
}
