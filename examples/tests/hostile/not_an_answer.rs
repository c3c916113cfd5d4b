//! Replies that are none: nothing of them is recorded but the end of the exchange.

use bytes::Bytes;
use certs::{TestAuthority, Validity};
use examples::peer;
use prost::Message;
use proto::exchange::{Frame, Want, frame::Body};
use security_server::{Clock, SystemClock};
use trust::{
    Content, Digest,
    header::{Direction, Header},
    wire::evidence::{MessageContent, Metadata},
};

use crate::{
    replies::{Case, FORGED, SAYS_OK, Step, TRUE, case, forged, no_right, signed},
    stage::{CLIENT, DAY, GUEST_MEMBER, PROVIDER, SERVICE},
};

/// The cases.
pub const NOT_AN_ANSWER: &[Case] = &[
    case(
        "a reply signed by another member",
        "consumer.wrong_member",
        "VN/GOV/E signed for VN/GOV/F/guest",
        |scene| scene.signed_by(scene.owner),
    ),
    case(
        "a reply signed by the asking member",
        "consumer.wrong_member",
        "VN/GOV/A signed for VN/GOV/F/guest",
        |scene| scene.signed_by(&scene.stage.member("VN/GOV/A")),
    ),
    case(
        "a certificate of an authority that nobody approved",
        "consumer.invalid_certificate",
        "no approved authority",
        |scene| {
            let now = SystemClock.seconds();
            let validity = Validity::days(now, 10);
            let authority = TestAuthority::create("Another authority", validity).unwrap();
            let stage = scene.stage;
            scene.signed_by(&stage.member_from(&authority, GUEST_MEMBER, now - DAY, now + DAY))
        },
    ),
    case(
        "a certificate that has expired",
        "consumer.expired_certificate",
        "was valid until",
        |scene| {
            let (stage, now) = (scene.stage, SystemClock.seconds());
            let authority = &stage.older;
            scene.signed_by(&stage.member_from(authority, GUEST_MEMBER, now - 2 * DAY, now - DAY))
        },
    ),
    case(
        "a reply without trust material",
        "consumer.unknown_certificate",
        "was not sent",
        |scene| {
            let mut steps = scene.signed_by(&scene.stage.member(GUEST_MEMBER));
            steps.split_off(1)
        },
    ),
    case(
        "a reply of another exchange",
        "consumer.different_exchange",
        "is of exchange",
        |scene| scene.with(|header| header.parties.exchange = scene.former.0),
    ),
    case(
        "a reply to the request of another exchange",
        "consumer.different_exchange",
        "another first request than ours",
        |scene| {
            scene.with(|header| {
                let answers = header.answers.as_mut().unwrap();
                answers.first_request = scene.former.1;
            })
        },
    ),
    case(
        "a reply to a request that was never sent",
        "consumer.different_exchange",
        "a request that we did not send",
        |scene| {
            scene.with(|header| {
                let answers = header.answers.as_mut().unwrap();
                answers.newest_request = scene.former.1;
            })
        },
    ),
    case(
        "a reply that does not promise to keep the request",
        "consumer.no_promise",
        "does not promise that the request is kept",
        |scene| scene.with(|header| header.promise = None),
    ),
    case(
        "a promise of what another server keeps",
        "consumer.no_promise",
        "does not keep",
        |scene| {
            scene.with(|header| {
                let promise = header.promise.as_mut().unwrap();
                promise.origin = format!("{PROVIDER}/1");
            })
        },
    ),
    case(
        "a promise of no record",
        "consumer.no_promise",
        "names no annex",
        |scene| {
            scene.with(|header| {
                header.promise.as_mut().unwrap().annex_digest.clear();
            })
        },
    ),
    case(
        "a reply to a request yet to come",
        "consumer.different_exchange",
        "a request that we did not send",
        |scene| scene.with(|header| header.answers.as_mut().unwrap().newest_sequence = 1 << 40),
    ),
    case(
        "a request in place of a reply",
        "consumer.different_exchange",
        "a request came where a reply was due",
        |scene| {
            scene.with(|header| {
                let parties = &mut header.parties;
                std::mem::swap(&mut parties.consumer, &mut parties.provider);
                std::mem::swap(&mut parties.client, &mut parties.service);
                header.direction = Direction::Request;
                header.answers = None;
                header.promise = None;
                header.status_code = None;
            })
        },
    ),
    case(
        "a reply to another client",
        "consumer.different_exchange",
        "between other parties",
        |scene| scene.with(|header| header.parties.client = SERVICE.parse().unwrap()),
    ),
    case(
        "a reply of another server",
        "consumer.wrong_server",
        "the header says VN/GOV/B/provider",
        |scene| scene.with(|header| header.parties.provider = PROVIDER.parse().unwrap()),
    ),
    case(
        "a reply for another server",
        "consumer.wrong_server",
        "the message is for VN/GOV/B/provider",
        |scene| scene.with(|header| header.parties.consumer = PROVIDER.parse().unwrap()),
    ),
    case(
        "a reply of a subsystem registered elsewhere",
        "consumer.not_registered_at_server",
        CLIENT,
        |scene| scene.with(|header| header.parties.service = CLIENT.parse().unwrap()),
    ),
    case(
        "the second reply first",
        "consumer.out_of_sequence",
        "reply 1 came where 0 was due",
        |scene| {
            scene.with(|header| {
                header.sequence = 1;
                header.previous = Some(Digest::of(b"a first reply"));
            })
        },
    ),
    case(
        "altered content",
        "consumer.content_mismatch",
        "not the one that the header names",
        |scene| {
            let content = peer::content(Some(TRUE.to_vec()));
            let mut envelope = scene.guest.sign(scene.call.reply(), content).envelope();
            let mut content = MessageContent::decode(envelope.content).unwrap();
            content.message = Some(Bytes::from_static(FORGED));
            envelope.content = content.encode_to_vec().into();
            vec![
                Step::Frame(scene.guest.trust_material()),
                Step::Frame(Frame {
                    body: Some(Body::Envelope(envelope)),
                }),
            ]
        },
    ),
    case(
        "an altered header",
        "consumer.invalid_signature",
        "does not verify",
        |scene| {
            let mut header = scene.call.reply();
            let mut envelope = scene.guest.sign(header.clone(), forged()).envelope();
            header.status_code = Some(5);
            header.content_digest = Digest::of(&envelope.content);
            envelope.header = header.encode();
            vec![
                Step::Frame(scene.guest.trust_material()),
                Step::Frame(Frame {
                    body: Some(Body::Envelope(envelope)),
                }),
            ]
        },
    ),
    case(
        "a refusal of the server's owner that carries a message",
        "consumer.malformed_envelope",
        "a refusal carries",
        |scene| {
            let content = Content::encode(&MessageContent {
                message: Some(Bytes::from_static(FORGED)),
                ..no_right()
            });
            let refusal = scene.owner.sign(scene.refusal(), content);
            signed(&[scene.owner], &refusal)
        },
    ),
    case(
        "a refusal of the service's member that carries a message",
        "consumer.malformed_envelope",
        "a refusal carries",
        |scene| {
            let refusal = scene.guest.sign(scene.refusal(), forged());
            signed(&[scene.guest], &refusal)
        },
    ),
    case(
        "a refusal of the server's owner that carries metadata",
        "consumer.malformed_envelope",
        "a refusal carries",
        |scene| {
            let content = Content::encode(&MessageContent {
                metadata: Some(Metadata::default()),
                ..no_right()
            });
            signed(&[scene.owner], &scene.owner.sign(scene.refusal(), content))
        },
    ),
    case(
        "a refusal that says OK",
        "consumer.malformed_envelope",
        "must not say OK",
        |scene| {
            let header = Header {
                status_code: Some(0),
                ..scene.refusal()
            };
            signed(
                &[scene.owner],
                &scene.owner.sign(header, Content::encode(&no_right())),
            )
        },
    ),
    case(
        "a refusal in the name of the consumer's server",
        "consumer.malformed_envelope",
        "refusal code",
        |scene| {
            let header = Header {
                refusal_code: Some("consumer.not_identified".to_owned()),
                ..scene.refusal()
            };
            signed(
                &[scene.owner],
                &scene.owner.sign(header, Content::encode(&no_right())),
            )
        },
    ),
    case(
        "a refusal by neither member nor owner",
        "consumer.wrong_member",
        "VN/GOV/B signed for VN/GOV/F/guest",
        |scene| {
            let other = scene.stage.member("VN/GOV/B");
            signed(
                &[&other],
                &other.sign(scene.refusal(), Content::encode(&no_right())),
            )
        },
    ),
    case(
        "a demand for certificates",
        "consumer.malformed_envelope",
        "need not be asked for",
        |_| {
            let want = Body::Want(Want::default());
            vec![Step::Frame(Frame { body: Some(want) })]
        },
    ),
    case(
        "a frame that does not parse",
        "consumer.malformed_envelope",
        "does not parse",
        |_| vec![Step::Bytes(b"\0\0\0\0\x02\xff\xff")],
    ),
    case(
        "a flag without meaning",
        "consumer.malformed_envelope",
        "flag 7",
        |_| vec![Step::Bytes(b"\x07\0\0\0\x02\xff\xff")],
    ),
    case(
        "half a frame",
        "consumer.malformed_envelope",
        "in the middle",
        |_| vec![Step::Bytes(b"\0\0\0\0\x09half"), SAYS_OK],
    ),
    case(
        "a length over every limit",
        "consumer.message_too_large",
        "over the limit",
        |_| vec![Step::Bytes(b"\0\xff\xff\xff\xff")],
    ),
    case(
        "nothing, and OK",
        "consumer.peer_lost",
        "without a final message",
        |_| vec![SAYS_OK],
    ),
    case(
        "nothing, and a status that no refusal explains",
        "consumer.peer_lost",
        "gRPC status 14",
        |_| {
            vec![Step::Trailers(&[
                ("grpc-status", "14"),
                ("grpc-message", "gone"),
            ])]
        },
    ),
    case(
        "the call broken off",
        "consumer.peer_lost",
        "broke off",
        |_| vec![Step::Reset],
    ),
    case(
        "an unsigned refusal in the name of the consumer's server",
        "consumer.malformed_envelope",
        "consumer.not_identified",
        |_| {
            vec![Step::Trailers(&[
                ("grpc-status", "16"),
                ("grpc-message", "no client certificate was shown"),
                ("x-road-refusal", "consumer.not_identified"),
                ("x-road-fault", "client"),
                ("x-road-server", "VN/GOV/A/consumer"),
            ])]
        },
    ),
    case(
        "an unsigned refusal with a code that is none",
        "consumer.malformed_envelope",
        "Provider Says No",
        |_| {
            vec![Step::Trailers(&[
                ("grpc-status", "7"),
                ("x-road-refusal", "Provider Says No"),
            ])]
        },
    ),
];
