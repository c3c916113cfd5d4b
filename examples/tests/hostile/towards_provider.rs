//! Requests that an honest provider must not answer.

use bytes::Bytes;
use certs::vouch;
use examples::{
    message_log::MessageLog,
    mirror,
    peer::{self, Conversation, HandmadePeer},
};
use proto::exchange::{Frame, frame::Body};
use security_server::{Clock, SystemClock};
use tonic::Status;
use tower::{Service, ServiceExt};
use trust::{
    ExchangeId,
    batch::VerifiedBatches,
    header::Direction,
    message::{SignedMessage, UnverifiedMessage},
};

use crate::{
    fault_of,
    requests::{BARE_BYTES, Case, OF_AN_OPEN_EXCHANGE, REFUSED_WITH_A_SIGNATURE, Scene},
    stage::{HOSTILE, PROVIDER, Stage, peer_id},
    status_of,
    unverifiable::UNVERIFIABLE,
};

/// A hostile server for each case that leaves security records, which are counted by server.
pub const PEERS: usize = UNVERIFIABLE.len() + BARE_BYTES.len() + 2;

const EXCHANGE: &str = "/lienthong.exchange.v1.SecurityServer/Exchange";

pub async fn act(stage: &Stage) {
    let member = stage.member(HOSTILE);
    a_certificate_that_nobody_registered(stage).await;
    let scene = |number| Scene::new(stage, &member, number);
    let mut played = Vec::new();
    for (number, case) in UNVERIFIABLE.iter().enumerate() {
        played.push((scene(number), case));
        let (scene, case) = &played[number];
        unverifiable(scene, case).await;
    }
    for (number, (what, bytes, refusal)) in (UNVERIFIABLE.len()..).zip(BARE_BYTES) {
        bare_bytes(stage, number, what, bytes, refusal).await;
    }
    check_security_records(&stage.log("provider"), &played);

    let mut refused = Vec::new();
    for case in REFUSED_WITH_A_SIGNATURE {
        refused.push(refused_with_a_signature(scene(PEERS - 1), case).await);
    }
    assert_eq!(
        stage.mirror.calls(),
        0,
        "nothing of this reached the adapter"
    );
    let mut closed = Vec::new();
    for case in OF_AN_OPEN_EXCHANGE {
        closed.push(of_an_open_exchange(scene(PEERS - 1), case).await);
    }
    let log = stage.log("provider");
    for (case, reply) in &refused {
        check_refused(&log, case, reply);
    }
    for (case, exchange) in closed {
        check_closed(&log, case, exchange);
    }
    a_request_counts_once(stage, &scene(PEERS - 2)).await;
    requests_after_the_final_one_are_dropped(stage, &scene(PEERS - 1)).await;
}

async fn connect(stage: &Stage, number: usize) -> HandmadePeer {
    let (certificate, key) = stage.peer_files(number);
    let shown = (certificate.as_path(), key.as_path());
    HandmadePeer::connect_showing(shown, &stage.federation, "consumer", "provider")
        .await
        .unwrap()
}

async fn open(scene: &Scene<'_>, frames: Vec<Frame>) -> Conversation {
    let peer = connect(scene.stage, scene.number).await;
    peer.open(frames).await.unwrap()
}

/// The connection is refused; that nothing is recorded of somebody unknown is seen at the end.
async fn a_certificate_that_nobody_registered(stage: &Stage) {
    let (certificate, key) = stage.unregistered_files();
    let shown = (certificate.as_path(), key.as_path());
    let connected =
        HandmadePeer::connect_showing(shown, &stage.federation, "consumer", "provider").await;
    if let Ok(peer) = connected {
        let status = peer.open(Vec::new()).await.err().expect("refused");
        assert_eq!(peer::refusal_code(&status), "", "{status:?}");
    }
}

/// Who refuses, with which code, whose fault it is and what must be said.
fn check_status(what: &str, status: &Status, refusal: &str, names: &str) {
    let message = format!("{what}: {}", status.message());
    assert_eq!(peer::refusal_code(status), refusal, "{message}");
    assert_eq!(status.code(), status_of(refusal), "{message}");
    let trailer = |name: &str| status.metadata().get(name).unwrap().to_str().unwrap();
    assert_eq!(trailer("x-road-server"), PROVIDER, "{message}");
    assert_eq!(
        trailer("x-road-fault"),
        fault_of(refusal).name(),
        "{message}"
    );
    assert!(message.contains(names), "{message} does not name {names}");
}

/// One security record of each server that was refused, and no message of it.
fn check_security_records(log: &MessageLog, played: &[(Scene<'_>, &Case)]) {
    let refused = played.iter().map(|(_, case)| case.refusal);
    let refused = refused.chain(BARE_BYTES.iter().map(|(_, _, refusal)| *refusal));
    let expected: Vec<_> = (0..).map(peer_id).zip(refused).collect();
    let records: Vec<_> = log
        .security
        .iter()
        .map(|record| (record.peer.clone(), &*record.refusal_code))
        .collect();
    assert_eq!(records, expected);
    assert!(log.messages.is_empty() && log.closings.is_empty());
}

async fn unverifiable(scene: &Scene<'_>, case: &Case) {
    let conversation = open(scene, (case.frames)(scene)).await;
    let status = conversation.refusal().await;
    let status = status.unwrap_or_else(|error| panic!("{}: {error}", case.what));
    check_status(case.what, &status, case.refusal, case.names);
}

async fn bare_bytes(stage: &Stage, number: usize, what: &str, bytes: &'static [u8], refusal: &str) {
    let body = http_body_util::Full::new(Bytes::from_static(bytes));
    let request = http::Request::post(EXCHANGE)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let mut channel = connect(stage, number).await.channel();
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await;
    let trailers = body.unwrap().trailers().cloned().unwrap();
    let status = Status::from_header_map(&trailers).unwrap();
    check_status(what, &status, refusal, "");
}

/// The one reply of a call that is refused, its signature verified.
async fn signed_reply(stage: &Stage, conversation: Conversation) -> SignedMessage {
    let mut replies = signed_replies(stage, conversation).await;
    assert_eq!(replies.len(), 1);
    replies.remove(0)
}

/// The replies of a call that ends well, their signatures verified: headers, message and status may come apart.
async fn signed_replies(stage: &Stage, mut conversation: Conversation) -> Vec<SignedMessage> {
    let authorities = [stage.authority.trusted().unwrap()];
    let mut certificate = None;
    let mut replies = Vec::new();
    while let Some(frame) = conversation.next().await.unwrap() {
        match frame.body.unwrap() {
            Body::TrustMaterial(material) => {
                let now = SystemClock.seconds();
                let der = &material.certificate;
                certificate = Some(vouch(der, &material.intermediates, &authorities, now).unwrap());
            }
            Body::Envelope(envelope) => {
                let facts = certificate
                    .as_ref()
                    .expect("the certificate comes first")
                    .into();
                let reply = UnverifiedMessage::parse(envelope).unwrap();
                replies.push(reply.verify(&facts, &VerifiedBatches::default()).unwrap());
            }
            Body::Want(_) => panic!("a demand for certificates"),
        }
    }
    replies
}

async fn refused_with_a_signature<'c>(
    scene: Scene<'_>,
    case: &'c Case,
) -> (&'c Case, SignedMessage) {
    let frames = (case.frames)(&scene);
    let reply = signed_reply(scene.stage, open(&scene, frames.clone()).await).await;
    let header = reply.header();
    let code = header.refusal_code.as_deref();
    assert_eq!(code, Some(case.refusal), "{}", case.what);
    let status = header.status_code.and_then(|code| code.try_into().ok());
    let status = status.map(tonic::Code::from_i32);
    assert_eq!(status, Some(status_of(case.refusal)), "{}", case.what);
    let content = reply.content().parse().unwrap();
    let message = &content.status_message;
    assert!(message.contains(case.names), "{}: {message}", case.what);
    assert!(content.message.is_none(), "{}", case.what);
    // Refused or not, it was seen: it is not refused with a signature twice.
    let again = open(&scene, frames).await.refusal().await.unwrap();
    check_status(case.what, &again, "provider.replayed", "");
    (case, reply)
}

/// Request and refusal are recorded, both without content.
fn check_refused(log: &MessageLog, case: &Case, reply: &SignedMessage) {
    let exchange = reply.header().parties.exchange;
    let recorded: Vec<_> = log.messages_of(exchange).collect();
    let [request, refusal] = recorded[..] else {
        panic!("{}: {} messages were recorded", case.what, recorded.len());
    };
    assert_eq!(
        request.header.direction,
        Direction::Request,
        "{}",
        case.what
    );
    assert_eq!(request.annex.decision, case.refusal, "{}", case.what);
    assert_eq!(refusal.digest, reply.digest(), "{}", case.what);
    assert!(
        request.content.is_empty() && refusal.content.is_empty(),
        "{}",
        case.what
    );
    assert!(log.closings_of(exchange).is_empty(), "{}", case.what);
}

async fn of_an_open_exchange<'c>(scene: Scene<'_>, case: &'c Case) -> (&'c Case, ExchangeId) {
    unverifiable(&scene, case).await;
    (case, scene.header.parties.exchange)
}

/// Only the first request is recorded, and the end of the exchange.
fn check_closed(log: &MessageLog, case: &Case, exchange: ExchangeId) {
    let recorded: Vec<_> = log.messages_of(exchange).collect();
    let [first] = recorded[..] else {
        panic!("{}: {} messages were recorded", case.what, recorded.len());
    };
    let place = (first.header.direction, first.header.sequence);
    assert_eq!(place, (Direction::Request, 0), "{}", case.what);
    let closings = log.closings_of(exchange);
    let [closing] = closings[..] else {
        panic!("{}: {} closing records", case.what, closings.len());
    };
    let outcome = format!("{}.{}", closing.side, closing.outcome);
    assert_eq!(outcome, case.refusal, "{}", case.what);
    assert_eq!(closing.request_sequence, Some(0), "{}", case.what);
    assert_eq!(closing.request_digest[..], first.digest.as_bytes()[..]);
    assert_eq!(closing.reply_sequence, None, "{}", case.what);
}

/// An honest exchange, answered by the adapter.
async fn answered(stage: &Stage, scene: &Scene<'_>, message: &SignedMessage) {
    let before = stage.mirror.calls();
    let frames = vec![scene.member.trust_material(), peer::envelope(message)];
    let replies = signed_replies(stage, open(scene, frames).await).await;
    let last = replies.last().unwrap().header();
    assert!(last.is_final && last.status_code == Some(0));
    for reply in &replies {
        let answers = reply.header().answers.as_ref().unwrap();
        assert_eq!(answers.first_request, message.digest());
    }
    let mut said = replies
        .iter()
        .filter_map(|reply| reply.content().parse().unwrap().message);
    let (seen, None) = (said.next().unwrap(), said.next()) else {
        panic!("more than one message");
    };
    let seen: mirror::Seen = serde_json::from_slice(&seen).unwrap();
    assert_eq!(
        seen["x-road-client"],
        [message.header().parties.client.as_str()]
    );
    assert_eq!(stage.mirror.calls(), before + 1);
}

/// The same exchange id again, in the same words or others, is refused; the log keeps one exchange.
async fn a_request_counts_once(stage: &Stage, scene: &Scene<'_>) {
    let message = scene.right();
    answered(stage, scene, &message).await;
    let calls = stage.mirror.calls();
    let other_words = scene.right();
    assert_ne!(other_words.digest(), message.digest());
    for again in [&message, &other_words] {
        let frames = vec![scene.member.trust_material(), peer::envelope(again)];
        let status = open(scene, frames).await.refusal().await.unwrap();
        check_status("a replay", &status, "provider.replayed", "");
    }
    assert_eq!(stage.mirror.calls(), calls);
    let log = stage.log("provider");
    check_one_request(&log, scene);
    let records = log.security.iter();
    let of_peer = records.filter(|record| record.peer == peer_id(scene.number));
    let codes: Vec<_> = of_peer.map(|record| &*record.refusal_code).collect();
    assert_eq!(codes, ["provider.replayed"; 2]);
}

fn check_one_request(log: &MessageLog, scene: &Scene<'_>) {
    let recorded = log.messages_of(scene.header.parties.exchange);
    let requests = recorded.filter(|entry| entry.header.direction == Direction::Request);
    assert_eq!(requests.count(), 1);
}

async fn requests_after_the_final_one_are_dropped(stage: &Stage, scene: &Scene<'_>) {
    let frames = scene.one_too_many();
    let replies = signed_replies(stage, open(scene, frames).await).await;
    assert_eq!(replies.last().unwrap().header().status_code, Some(0));
    check_one_request(&stage.log("provider"), scene);
}
