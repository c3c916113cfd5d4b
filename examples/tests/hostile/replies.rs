//! What a hostile provider's server may answer, and what the client must be told instead.

use bytes::Bytes;
use examples::{handmade_provider::ReceivedCall, peer};
use proto::exchange::Frame;
use trust::{
    Content, Digest, ExchangeId,
    content::SALT_LENGTH,
    header::Header,
    message::SignedMessage,
    wire::evidence::{MessageContent, Metadata, MetadataEntry},
};

use crate::stage::{Signatory, Stage};

/// What no client may ever see.
pub const FORGED: &[u8] = b"forged";

/// What is right and may be seen.
pub const TRUE: &[u8] = b"true";

/// A call that waits for its answer, and who could sign it.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub call: &'a ReceivedCall,
    /// The member of the called subsystem.
    pub guest: &'a Signatory,
    /// The member that owns the server.
    pub owner: &'a Signatory,
    /// An exchange before this one, with the digest of its first request.
    pub former: (ExchangeId, Digest),
}

/// What is sent, in order; without an ending the call stays open until the consumer gives it up.
pub enum Step {
    Frame(Frame),
    Bytes(&'static [u8]),
    Trailers(&'static [(&'static str, &'static str)]),
    Reset,
}

/// Something wrong, and what the client must be told.
pub struct Case {
    pub what: &'static str,
    pub steps: fn(&Scene<'_>) -> Vec<Step>,
    pub refusal: &'static str,
    /// What the message must name.
    pub names: &'static str,
}

pub const fn case(
    what: &'static str,
    refusal: &'static str,
    names: &'static str,
    steps: fn(&Scene<'_>) -> Vec<Step>,
) -> Case {
    Case {
        what,
        steps,
        refusal,
        names,
    }
}

pub const SAYS_OK: Step = Step::Trailers(&[("grpc-status", "0")]);

impl Scene<'_> {
    /// Everything right but what is changed in the header, signed as it then is.
    pub fn with(&self, change: impl FnOnce(&mut Header)) -> Vec<Step> {
        let mut header = self.call.reply();
        change(&mut header);
        signed(&[self.guest], &self.guest.sign(header, forged()))
    }

    /// Everything right but who signed.
    pub fn signed_by(&self, signatory: &Signatory) -> Vec<Step> {
        let message = signatory.sign(self.call.reply(), forged());
        signed(&[signatory], &message)
    }

    /// The first of several replies, nothing wrong with it.
    fn first(&self) -> SignedMessage {
        let header = Header {
            is_final: false,
            status_code: None,
            ..self.call.reply()
        };
        self.guest.sign(header, peer::content(Some(TRUE.to_vec())))
    }

    /// A right first reply and a right second and final one to be changed.
    fn second(&self, change: impl FnOnce(&mut Header)) -> Vec<Step> {
        let first = self.first();
        let mut header = Header {
            sequence: 1,
            previous: Some(first.digest()),
            ..self.call.reply()
        };
        change(&mut header);
        let mut steps = signed(&[self.guest], &first);
        steps.extend(signed(&[], &self.guest.sign(header, forged())));
        steps
    }

    /// A header that refuses.
    pub fn refusal(&self) -> Header {
        Header {
            refusal_code: Some("provider.access_denied".to_owned()),
            status_code: Some(7),
            ..self.call.reply()
        }
    }
}

/// What a refusal may say, and nothing else.
pub fn no_right() -> MessageContent {
    MessageContent {
        salt: Bytes::from_static(&[7; SALT_LENGTH]),
        status_message: "no right".to_owned(),
        ..MessageContent::default()
    }
}

pub fn forged() -> Content {
    peer::content(Some(FORGED.to_vec()))
}

/// The certificates, the message, the end of the call.
pub fn signed(signatories: &[&Signatory], message: &SignedMessage) -> Vec<Step> {
    let material = signatories.iter().map(|one| one.trust_material());
    let mut frames: Vec<Frame> = material.collect();
    frames.push(peer::envelope(message));
    frames.into_iter().map(Step::Frame).collect()
}

/// The first reply is right and is delivered, the second is not.
pub const NOT_THE_SECOND: &[Case] = &[
    case(
        "a broken chain",
        "consumer.broken_chain",
        "does not name the one before",
        |scene| scene.second(|header| header.previous = Some(Digest::of(b"another reply"))),
    ),
    case(
        "a reply left out",
        "consumer.out_of_sequence",
        "reply 2 came where 1 was due",
        |scene| scene.second(|header| header.sequence = 2),
    ),
    case(
        "the first reply twice",
        "consumer.out_of_sequence",
        "reply 0 came where 1 was due",
        |scene| {
            let first = scene.first();
            let mut steps = signed(&[scene.guest], &first);
            steps.extend(signed(&[], &first));
            steps
        },
    ),
    case(
        "no final reply, and OK",
        "consumer.peer_lost",
        "without a final message",
        |scene| {
            let mut steps = signed(&[scene.guest], &scene.first());
            steps.push(SAYS_OK);
            steps
        },
    ),
];

/// Refusals without a signature, passed on as those of the server that holds the connection.
pub const UNSIGNED_REFUSALS: &[Case] = &[
    case("an honest one", "provider.busy", "no memory left", |_| {
        vec![Step::Trailers(&[
            ("grpc-status", "8"),
            ("grpc-message", "no memory left"),
            ("x-road-refusal", "provider.busy"),
            ("x-road-fault", "provider"),
            ("x-road-server", "VN/GOV/E/handmade"),
        ])]
    }),
    case(
        "one in the name of another server",
        "provider.busy",
        "no memory left",
        |_| {
            vec![Step::Trailers(&[
                ("grpc-status", "5"),
                ("grpc-message", "no memory left"),
                ("x-road-refusal", "provider.busy"),
                ("x-road-fault", "client"),
                ("x-road-server", "VN/GOV/B/provider"),
            ])]
        },
    ),
];

/// A right reply whose content claims fields of the bus, and then a second final one.
pub fn right_and_more(scene: &Scene<'_>) -> Vec<Step> {
    let claims = Metadata {
        entries: [
            "x-road-exchange-id",
            "x-road-refusal",
            "x-road-server",
            "own",
        ]
        .map(|key| MetadataEntry {
            key: key.to_owned(),
            value: Bytes::from_static(FORGED),
        })
        .to_vec(),
    };
    let mut content = peer::content(Some(TRUE.to_vec())).parse().unwrap();
    content.metadata = Some(claims.clone());
    content.trailers = Some(claims);
    let first = scene
        .guest
        .sign(scene.call.reply(), Content::encode(&content));
    let mut again = scene.call.reply();
    again.sequence = 1;
    again.previous = Some(first.digest());
    let mut steps = signed(&[scene.guest], &first);
    steps.extend(signed(&[], &scene.guest.sign(again, forged())));
    steps.push(SAYS_OK);
    steps
}
