//! The same first envelope again: refused at once, after a kill, and without any view.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use examples::{
    echo::{self, CLIENT, Echo, PROVIDER, SAY},
    federation::Federation,
    message_log::MessageLog,
    peer::{self, HandmadePeer, Member},
};
use proto::exchange::Frame;

/// A `Text` that says "once".
const MESSAGE: &[u8] = b"\x0a\x04once";
const REPLAYED: &str = "provider.replayed";

async fn refusal(federation: &Federation, frames: &[Frame]) -> String {
    let server = HandmadePeer::connect(federation, "consumer", "provider");
    let server = server.await.unwrap();
    let conversation = server.open(frames.to_vec()).await.unwrap();
    let status = conversation.refusal().await.unwrap();
    peer::refusal_code(&status).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_envelope_is_acted_on_once() {
    let directory = tempfile::tempdir().unwrap();
    let echo = Echo::start().await.unwrap();
    let plan = echo::plan(&echo.address);
    let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
    let consumer = federation.server("consumer").unwrap();
    let provider = federation.server("provider").unwrap();
    let member = Member::of(consumer).unwrap();
    let header = peer::first_request((CLIENT, consumer), (PROVIDER, provider), SAY).unwrap();
    let exchange = header.parties.exchange;
    let request = member
        .sign(header.clone(), peer::content(Some(MESSAGE.to_vec())))
        .unwrap();
    let frames = [member.trust_material(), peer::envelope(&request)];

    let server = HandmadePeer::connect(&federation, "consumer", "provider");
    let server = server.await.unwrap();
    let mut conversation = server.open(frames.to_vec()).await.unwrap();
    conversation.end_requests();
    let mut replies = Vec::new();
    while let Some(reply) = conversation.reply().await.unwrap() {
        replies.push(reply);
    }
    let (last, _) = replies.last().unwrap();
    assert!(last.is_final);
    assert_eq!((last.status_code, &last.refusal_code), (Some(0), &None));
    let answered = replies.iter().find_map(|(_, reply)| reply.message.clone());
    assert_eq!(answered.as_deref(), Some(MESSAGE));
    assert_eq!(echo.calls(), 1);

    assert_eq!(refusal(&federation, &frames).await, REPLAYED);
    // Another message under the same exchange id is no new exchange.
    let another = member
        .sign(header, peer::content(Some(b"\x0a\x05twice".to_vec())))
        .unwrap();
    let another = [member.trust_material(), peer::envelope(&another)];
    assert_eq!(refusal(&federation, &another).await, REPLAYED);

    let provider = federation.server_mut("provider").unwrap();
    provider.kill().await.unwrap();
    provider.start().await.unwrap();
    assert_eq!(refusal(&federation, &frames).await, REPLAYED);

    let provider = federation.server_mut("provider").unwrap();
    provider.kill().await.unwrap();
    std::fs::remove_dir_all(provider.path("log/views")).unwrap();
    provider.start().await.unwrap();
    assert_eq!(refusal(&federation, &frames).await, REPLAYED);
    assert_eq!(refusal(&federation, &another).await, REPLAYED);

    assert_eq!(echo.calls(), 1, "what came again was not acted on");
    let log = &federation.server("provider").unwrap().endpoint().log;
    let log = MessageLog::read(log).unwrap();
    assert_eq!(log.messages_of(exchange).count(), 1 + replies.len());
    assert!(log.closings_of(exchange).is_empty());
    let noted = log.security.iter();
    let noted = noted.filter(|event| event.refusal_code == REPLAYED);
    assert_eq!(noted.map(|event| event.count).sum::<u64>(), 5);
    federation.audit().await.unwrap();
    federation.stop().await.unwrap();
}
