//! Requests that never become evidence: refused without a signature, with a security record.

use bytes::Bytes;
use certs::{Subject, TestAuthority, Validity};
use examples::peer;
use prost::Message;
use proto::exchange::{Frame, TrustMaterial, Want, frame::Body};
use security_server::{Clock, SystemClock};
use trust::{
    Content, Digest,
    header::{Answers, Direction, Header},
    signature::Signer,
    wire::evidence::{CadesBatchSignature, Envelope, MessageContent, Signature, signature::Form},
};

use crate::{
    requests::{Case, case, frame},
    stage::{
        ASKER, CLIENT, CONSUMER, DAY, ELSEWHERE, GUEST_MEMBER, HOSTILE, PROVIDER, SERVICE, peer_id,
    },
};

/// The cases.
pub const UNVERIFIABLE: &[Case] = &[
    case(
        "another sending server",
        "provider.wrong_server",
        "the header says VN/GOV/A/consumer",
        |scene| scene.with(|header| header.parties.consumer = CONSUMER.parse().unwrap()),
    ),
    case(
        "another receiving server",
        "provider.wrong_server",
        "the message is for VN/GOV/A/consumer",
        |scene| scene.with(|header| header.parties.provider = CONSUMER.parse().unwrap()),
    ),
    case(
        "a subsystem that is registered nowhere",
        "provider.not_registered_at_server",
        ELSEWHERE,
        |scene| scene.with(|header| header.parties.client = ELSEWHERE.parse().unwrap()),
    ),
    case(
        "a subsystem of another server",
        "provider.not_registered_at_server",
        CLIENT,
        |scene| scene.with(|header| header.parties.client = CLIENT.parse().unwrap()),
    ),
    case(
        "the signature of another member",
        "provider.wrong_member",
        GUEST_MEMBER,
        |scene| scene.signed_by(&scene.stage.member(GUEST_MEMBER)),
    ),
    case(
        "a certificate of an authority that took the name of the approved one",
        "provider.invalid_certificate",
        "the signature is not by the authority",
        |scene| {
            let now = SystemClock.seconds();
            let validity = Validity::days(now, 10);
            let authority = TestAuthority::create("An older authority", validity).unwrap();
            let member = scene
                .stage
                .member_from(&authority, HOSTILE, now - DAY, now + DAY);
            scene.signed_by(&member)
        },
    ),
    case(
        "a certificate that has expired",
        "provider.expired_certificate",
        "was valid until",
        |scene| {
            let (stage, now) = (scene.stage, SystemClock.seconds());
            let member = stage.member_from(&stage.older, HOSTILE, now - 2 * DAY, now - DAY);
            scene.signed_by(&member)
        },
    ),
    case(
        "a certificate that is not valid yet",
        "provider.expired_certificate",
        "is valid only from",
        |scene| {
            let (stage, now) = (scene.stage, SystemClock.seconds());
            let member = stage.member_from(&stage.older, HOSTILE, now + DAY, now + 2 * DAY);
            scene.signed_by(&member)
        },
    ),
    case(
        "a signature older than its certificate",
        "provider.expired_certificate",
        "was not valid when it signed",
        |scene| scene.with(|header| header.created_at -= 2 * DAY),
    ),
    case(
        "a server's authentication certificate signs",
        "provider.invalid_certificate",
        "signing certificate is needed",
        |scene| {
            let subject = Subject::Authentication {
                server: peer_id(scene.number).parse().unwrap(),
                organization: None,
            };
            let stage = scene.stage;
            let validity = Validity::days(SystemClock.seconds(), 1);
            scene.signed_by(&stage.signatory(&stage.older, &subject, validity))
        },
    ),
    case(
        "trust material that is no certificate",
        "provider.invalid_certificate",
        "no DER-encoded X.509",
        |scene| {
            let certificate = Bytes::from_static(b"no certificate");
            let material = TrustMaterial {
                certificate,
                ..TrustMaterial::default()
            };
            vec![
                frame(Body::TrustMaterial(material)),
                peer::envelope(&scene.right()),
            ]
        },
    ),
    case(
        "trust material without end",
        "provider.malformed_envelope",
        "certificates",
        |scene| vec![scene.member.trust_material(); 9],
    ),
    case(
        "no trust material",
        "provider.unknown_certificate",
        "was not sent",
        |scene| scene.signed_by(&scene.stage.member(HOSTILE)).split_off(1),
    ),
    case(
        "the certificate of another signer",
        "provider.invalid_signature",
        "does not verify",
        |scene| {
            let other = scene.stage.member(HOSTILE);
            let named = Bytes::copy_from_slice(other.certificate_digest().as_bytes());
            let mut frames = scene.altered(|envelope| {
                if let Some(Form::CadesV1(cades)) = form(envelope) {
                    cades.certificate_digest = named;
                }
            });
            frames.insert(0, other.trust_material());
            frames
        },
    ),
    case(
        "altered content",
        "provider.content_mismatch",
        "not the one that the header names",
        |scene| {
            scene.altered(|envelope| {
                let mut content = MessageContent::decode(envelope.content.clone()).unwrap();
                content.message = Some(Bytes::from_static(b"altered"));
                envelope.content = content.encode_to_vec().into();
            })
        },
    ),
    case(
        "no content",
        "provider.content_mismatch",
        "not the one that the header names",
        |scene| scene.altered(|envelope| envelope.content.clear()),
    ),
    case(
        "an altered header",
        "provider.invalid_signature",
        "does not verify",
        |scene| {
            scene.altered(|envelope| {
                let mut header = Header::parse(&envelope.header).unwrap();
                header.statements.user = "somebody else".to_owned();
                envelope.header = header.encode();
            })
        },
    ),
    case(
        "one bit of the signature flipped",
        "provider.invalid_signature",
        "does not verify",
        |scene| {
            scene.altered(|envelope| {
                if let Some(Form::CadesV1(cades)) = form(envelope) {
                    let mut value = cades.value.to_vec();
                    *value.last_mut().unwrap() ^= 1;
                    cades.value = value.into();
                }
            })
        },
    ),
    case(
        "something after the signature",
        "provider.invalid_signature",
        "does not verify",
        |scene| {
            scene.altered(|envelope| {
                if let Some(Form::CadesV1(cades)) = form(envelope) {
                    cades.value = [&cades.value[..], &[0]].concat().into();
                }
            })
        },
    ),
    case(
        "the signature of another message",
        "provider.invalid_signature",
        "does not verify",
        |scene| {
            let other = scene.right().envelope().signature;
            scene.altered(|envelope| envelope.signature = other)
        },
    ),
    case(
        "another time in the signature",
        "provider.malformed_envelope",
        "signing time differs",
        |scene| {
            scene.altered(|envelope| {
                if let Some(Form::CadesV1(cades)) = form(envelope) {
                    cades.signing_time += 1;
                }
            })
        },
    ),
    case(
        "no signature",
        "provider.malformed_envelope",
        "no signature",
        |scene| scene.altered(|envelope| envelope.signature = None),
    ),
    case(
        "a batch signature",
        "provider.malformed_envelope",
        "batch",
        |scene| {
            scene.altered(|envelope| {
                envelope.signature = Some(Signature {
                    form: Some(Form::CadesBatchV1(CadesBatchSignature::default())),
                });
            })
        },
    ),
    case(
        "made ten minutes ago",
        "provider.stale_message",
        "seconds before",
        |scene| scene.with(|header| header.created_at -= 600),
    ),
    case(
        "made in ten minutes",
        "provider.stale_message",
        "seconds after",
        |scene| scene.with(|header| header.created_at += 600),
    ),
    case(
        "the second request of an exchange that nobody opened",
        "provider.out_of_sequence",
        "is not open here",
        |scene| {
            scene.with(|header| {
                header.sequence = 1;
                header.previous = Some(Digest::of(b"a first request"));
            })
        },
    ),
    case(
        "a reply in place of a request",
        "provider.out_of_sequence",
        "is not open here",
        |scene| {
            scene.with(|header| {
                let ours = header.parties.consumer.clone();
                header.parties.consumer = PROVIDER.parse().unwrap();
                header.parties.provider = ours;
                header.parties.client = SERVICE.parse().unwrap();
                header.parties.service = ASKER.parse().unwrap();
                header.direction = Direction::Reply;
                header.deadline_milliseconds = None;
                header.status_code = Some(0);
                header.answers = Some(Answers {
                    first_request: Digest::of(b"a first request"),
                    newest_sequence: 0,
                    newest_request: Digest::of(b"a first request"),
                });
            })
        },
    ),
    case(
        "an instance that its identifiers are not of",
        "provider.wrong_instance",
        "instance LA",
        |scene| scene.with(|header| header.parties.instance = "LA".parse().unwrap()),
    ),
    case(
        "another instance in every identifier",
        "provider.wrong_instance",
        "instance LA",
        |scene| {
            scene.with(|header| {
                let parties = &mut header.parties;
                parties.instance = "LA".parse().unwrap();
                parties.client = "LA/GOV/E/asker".parse().unwrap();
                parties.service = "LA/GOV/B/mirror".parse().unwrap();
                parties.consumer = "LA/GOV/E/peer".parse().unwrap();
                parties.provider = "LA/GOV/B/provider".parse().unwrap();
            })
        },
    ),
    case(
        "a request that says how the call ended",
        "provider.malformed_envelope",
        "status_code",
        |scene| scene.with(|header| header.status_code = Some(0)),
    ),
    case(
        "a request that is a refusal",
        "provider.malformed_envelope",
        "only replies have",
        |scene| {
            scene.with(|header| header.refusal_code = Some("provider.access_denied".to_owned()))
        },
    ),
    case(
        "a user without end",
        "provider.malformed_envelope",
        "longer than 1024 bytes",
        |scene| scene.with(|header| header.statements.user = "u".repeat(1025)),
    ),
    case(
        "a header that is none",
        "provider.malformed_envelope",
        "header",
        |scene| scene.altered(|envelope| envelope.header = Bytes::from_static(b"\xff\xff")),
    ),
    case(
        "signed content that is none",
        "provider.malformed_envelope",
        "content",
        |scene| {
            let content = Content::received(Bytes::from_static(b"\xff\xff"));
            let message = scene.member.sign(scene.header.clone(), content);
            scene.introduced([peer::envelope(&message)])
        },
    ),
    case(
        "signed content without salt",
        "provider.malformed_envelope",
        "salt",
        |scene| {
            let content = Content::encode(&MessageContent::default());
            let message = scene.member.sign(scene.header.clone(), content);
            scene.introduced([peer::envelope(&message)])
        },
    ),
    case(
        "a demand for certificates",
        "provider.malformed_envelope",
        "need not be asked for",
        |_| vec![frame(Body::Want(Want::default()))],
    ),
    case(
        "an empty frame",
        "provider.malformed_envelope",
        "a frame is empty",
        |_| vec![Frame { body: None }],
    ),
];

fn form(envelope: &mut Envelope) -> Option<&mut Form> {
    envelope.signature.as_mut()?.form.as_mut()
}
