//! What a hostile consumer's server may send, and what it must be told.

use examples::{mirror, peer};
use proto::exchange::{Frame, Want, frame::Body};
use trust::{Content, Digest, header::Header, message::SignedMessage, wire::evidence::Envelope};

use crate::stage::{ASKER, CLIENT, GUEST_MEMBER, OUTSIDER, SERVICE, Signatory, Stage, peer_id};

/// One hostile server and its member, about to send something.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    pub member: &'a Signatory,
    pub number: usize,
    /// A correct header of a first and final request.
    pub header: Header,
}

/// Something wrong, and what it must be told.
pub struct Case {
    pub what: &'static str,
    pub frames: fn(&Scene<'_>) -> Vec<Frame>,
    pub refusal: &'static str,
    /// What the message must name.
    pub names: &'static str,
}

pub const fn case(
    what: &'static str,
    refusal: &'static str,
    names: &'static str,
    frames: fn(&Scene<'_>) -> Vec<Frame>,
) -> Case {
    Case {
        what,
        frames,
        refusal,
        names,
    }
}

impl<'a> Scene<'a> {
    pub fn new(stage: &'a Stage, member: &'a Signatory, number: usize) -> Self {
        let [consumer, provider] =
            ["consumer", "provider"].map(|code| stage.federation.server(code).unwrap());
        let header = peer::first_request((ASKER, consumer), (SERVICE, provider), mirror::LOOK);
        let mut header = header.unwrap();
        header.parties.consumer = peer_id(number).parse().unwrap();
        Self {
            stage,
            member,
            number,
            header,
        }
    }

    /// The right message with the right signature.
    pub fn right(&self) -> SignedMessage {
        self.member.sign(self.header.clone(), hello())
    }

    /// Everything right but what is changed in the header, signed as it then is.
    pub fn with(&self, change: impl FnOnce(&mut Header)) -> Vec<Frame> {
        let mut header = self.header.clone();
        change(&mut header);
        self.introduced([peer::envelope(&self.member.sign(header, hello()))])
    }

    /// Everything right but what is changed in the envelope after it was signed.
    pub fn altered(&self, change: impl FnOnce(&mut Envelope)) -> Vec<Frame> {
        let mut envelope = self.right().envelope();
        change(&mut envelope);
        self.introduced([frame(Body::Envelope(envelope))])
    }

    /// Everything right but who signed.
    pub fn signed_by(&self, signatory: &Signatory) -> Vec<Frame> {
        let message = signatory.sign(self.header.clone(), hello());
        vec![signatory.trust_material(), peer::envelope(&message)]
    }

    pub fn introduced<const N: usize>(&self, frames: [Frame; N]) -> Vec<Frame> {
        let mut all = vec![self.member.trust_material()];
        all.extend(frames);
        all
    }

    /// A right first request that is not the last, and a right second one to be changed.
    fn second(&self, change: impl FnOnce(&mut Header)) -> Vec<Frame> {
        let (first, mut header) = self.two();
        change(&mut header);
        let second = self.member.sign(header, hello());
        self.introduced([peer::envelope(&first), peer::envelope(&second)])
    }

    /// A right and final request, and another one after it.
    pub fn one_too_many(&self) -> Vec<Frame> {
        let final_one = self.right();
        let late = Header {
            sequence: 1,
            previous: Some(final_one.digest()),
            ..self.header.clone()
        };
        let late = self.member.sign(late, hello());
        self.introduced([peer::envelope(&final_one), peer::envelope(&late)])
    }

    fn two(&self) -> (SignedMessage, Header) {
        let first = Header {
            is_final: false,
            ..self.header.clone()
        };
        let first = self.member.sign(first, hello());
        let second = Header {
            sequence: 1,
            previous: Some(first.digest()),
            ..self.header.clone()
        };
        (first, second)
    }
}

fn hello() -> Content {
    peer::content(Some(b"hello".to_vec()))
}

pub fn frame(body: Body) -> Frame {
    Frame { body: Some(body) }
}

/// Follows a right first request: the exchange ends without a signature, and is closed in the log.
pub const OF_AN_OPEN_EXCHANGE: &[Case] = &[
    case(
        "a broken chain",
        "provider.broken_chain",
        "does not name the one before",
        |scene| scene.second(|header| header.previous = Some(Digest::of(b"another request"))),
    ),
    case(
        "the same request twice",
        "provider.out_of_sequence",
        "request 0 came where 1 was due",
        |scene| {
            let (first, _) = scene.two();
            scene.introduced([peer::envelope(&first), peer::envelope(&first)])
        },
    ),
    case(
        "a request left out",
        "provider.out_of_sequence",
        "request 2 came where 1 was due",
        |scene| scene.second(|header| header.sequence = 2),
    ),
    case(
        "the second request of another exchange",
        "provider.different_exchange",
        "is of exchange",
        |scene| {
            let other = Scene::new(scene.stage, scene.member, scene.number).header;
            scene.second(|header| header.parties.exchange = other.parties.exchange)
        },
    ),
    case(
        "another method",
        "provider.different_exchange",
        "for another call",
        |scene| {
            let pretend = trust::MethodPath::parse(mirror::PRETEND).unwrap();
            scene.second(|header| header.parties.method = pretend)
        },
    ),
    case(
        "another subsystem of the member",
        "provider.different_exchange",
        "between other parties",
        |scene| scene.second(|header| header.parties.client = OUTSIDER.parse().unwrap()),
    ),
    case(
        "the signature of another member",
        "provider.wrong_member",
        GUEST_MEMBER,
        |scene| {
            let (first, header) = scene.two();
            let other = scene.stage.member(GUEST_MEMBER);
            scene.introduced([
                peer::envelope(&first),
                other.trust_material(),
                peer::envelope(&other.sign(header, hello())),
            ])
        },
    ),
    case(
        "altered content",
        "provider.content_mismatch",
        "not the one that the header names",
        |scene| {
            let (first, header) = scene.two();
            let mut second = scene.member.sign(header, hello()).envelope();
            second.content = hello().bytes().clone();
            scene.introduced([peer::envelope(&first), frame(Body::Envelope(second))])
        },
    ),
    case(
        "a demand for certificates",
        "provider.malformed_envelope",
        "need not be asked for",
        |scene| {
            let (first, _) = scene.two();
            scene.introduced([peer::envelope(&first), frame(Body::Want(Want::default()))])
        },
    ),
];

/// Verified and not allowed: refused with a signature, both recorded without content.
pub const REFUSED_WITH_A_SIGNATURE: &[Case] = &[
    case("no right", "provider.access_denied", OUTSIDER, |scene| {
        scene.with(|header| header.parties.client = OUTSIDER.parse().unwrap())
    }),
    case(
        "a service that is not offered",
        "provider.unknown_service",
        "foreign.other.v1.Other",
        |scene| {
            let other = trust::MethodPath::parse("/foreign.other.v1.Other/Look").unwrap();
            scene.with(|header| header.parties.method = other)
        },
    ),
    case(
        "a subsystem of another agency",
        "provider.unknown_service",
        CLIENT,
        |scene| scene.with(|header| header.parties.service = CLIENT.parse().unwrap()),
    ),
];

/// Bytes that are no frames.
pub const BARE_BYTES: &[(&str, &[u8], &str)] = &[
    (
        "a length over every limit",
        b"\0\xff\xff\xff\xff",
        "provider.message_too_large",
    ),
    (
        "a frame that does not parse",
        b"\0\0\0\0\x02\xff\xff",
        "provider.malformed_envelope",
    ),
    (
        "a compressed frame",
        b"\x01\0\0\0\x02\xff\xff",
        "provider.malformed_envelope",
    ),
    (
        "a flag without meaning",
        b"\x07\0\0\0\x02\xff\xff",
        "provider.malformed_envelope",
    ),
    (
        "half a frame",
        b"\0\0\0\0\x09half",
        "provider.malformed_envelope",
    ),
    ("nothing", b"", "provider.peer_lost"),
];
