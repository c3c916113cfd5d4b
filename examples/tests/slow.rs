//! Clients and peers that begin something and do not go on: refused in time, or given up, with a record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{convert::Infallible, fs};

use bytes::Bytes;
use examples::{
    bare_caller::BareCaller,
    echo::{self, CLIENT, Echo, PROVIDER, SAY},
    federation::Federation,
    message_log::MessageLog,
    peer::{self, HandmadePeer},
    waiting::wait_for,
};
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

struct Stage {
    federation: Federation,
    echo: Echo,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Both servers give a message one second.
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        let mut federation = Federation::start(directory.path(), &plan).await.unwrap();
        for name in ["consumer", "provider"] {
            let server = federation.server_mut(name).unwrap();
            let path = server.path("server.toml");
            let settings = fs::read_to_string(&path).unwrap();
            let settings = settings.replace("[limits]\n", "[limits]\nmessage_seconds = 1\n");
            server.stop().await.unwrap();
            fs::write(&path, settings).unwrap();
            server.start().await.unwrap();
        }
        Self {
            federation,
            echo,
            _directory: directory,
        }
    }

    fn log(&self, server: &str) -> MessageLog {
        MessageLog::read(&self.federation.server(server).unwrap().endpoint().log).unwrap()
    }

    /// One security record, and nothing else.
    fn check(&self, server: &str, refusal: &str, peer: &str) {
        let log = self.log(server);
        let records: Vec<_> = log
            .security
            .iter()
            .map(|it| (&*it.refusal_code, &*it.peer))
            .collect();
        assert_eq!(records, [(refusal, peer)]);
        assert!(log.messages.is_empty() && log.closings.is_empty());
        assert_eq!(self.echo.calls(), 0);
    }

    async fn still_serves(self) {
        let consumer = self.federation.server("consumer").unwrap();
        let caller = BareCaller::plaintext(consumer.plaintext(CLIENT).unwrap())
            .await
            .unwrap();
        let metadata = [("x-road-service", PROVIDER)];
        let answer = caller.call(SAY, &metadata, b"\x0a\x02hi").await.unwrap();
        assert_eq!(answer.status.code(), Code::Ok, "{answer:?}");
        self.federation.audit().await.unwrap();
        self.federation.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_half_a_message_is_refused_in_time() {
    let stage = Stage::set().await;
    let consumer = stage.federation.server("consumer").unwrap();
    let address = consumer.plaintext(CLIENT).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let serving = tokio::spawn(connection);
    let (parts, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let request = Request::post(format!("http://{address}{SAY}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-road-service", PROVIDER)
        .body(StreamBody::new(ReceiverStream::new(body)))
        .unwrap();
    let half = Bytes::from_static(b"\0\0\0\0\x09hi");
    parts.send(Ok(Frame::data(half))).await.unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = body.collect().await.unwrap().trailers().cloned();
    let said = [Some(head.headers), trailers];
    let mut refusals = said
        .iter()
        .flatten()
        .filter_map(|it| it.get("x-road-refusal"));
    assert_eq!(refusals.next().unwrap(), "consumer.malformed_message");
    // When the headers came more than a millisecond ahead, the exchange had begun without a message.
    let log = stage.log("consumer");
    if log.messages.is_empty() {
        stage.check("consumer", "consumer.malformed_message", CLIENT);
    } else {
        let [closing] = &log.closings[..] else {
            panic!("{} closing records", log.closings.len());
        };
        assert_eq!(closing.outcome, "malformed_message");
        assert!(log.security.is_empty());
    }
    drop((parts, serving));
    stage.still_serves().await;
}

/// What was cut off is not what was ended: the client has signed no final request.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_has_not_ended_its_requests() {
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        cut_off(reason).await;
    }
}

async fn cut_off(reason: h2::Reason) {
    let stage = Stage::set().await;
    let consumer = stage.federation.server("consumer").unwrap();
    let address = consumer.plaintext(CLIENT).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let serving = tokio::spawn(connection);
    let request = Request::post(format!("http://{address}{SAY}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-road-service", PROVIDER)
        .body(())
        .unwrap();
    let mut requests = requests.ready().await.unwrap();
    let (answering, mut sending) = requests.send_request(request, false).unwrap();
    let whole = Bytes::from_static(b"\0\0\0\0\x04\x0a\x02hi");
    sending.send_data(whole, false).unwrap();
    wait_for("the request at the provider", async || {
        (!stage.log("provider").messages.is_empty()).then_some(())
    })
    .await
    .unwrap();
    sending.send_reset(reason);
    for server in ["consumer", "provider"] {
        let closing = wait_for("the end of the exchange", async || {
            stage.log(server).closings.first().cloned()
        });
        // A provider learns of it from its requests or from its replies, whichever it looks at first.
        let outcomes = match server {
            "provider" => &["cancelled", "peer_lost"][..],
            _ => &["cancelled"],
        };
        let outcome = closing.await.unwrap().outcome;
        assert!(outcomes.contains(&&*outcome), "{server}: {outcome}");
        let log = stage.log(server);
        assert!(
            !log.messages.iter().any(|it| it.header.is_final),
            "{server}"
        );
        assert!(log.security.is_empty(), "{server}");
    }
    drop((answering, requests, serving));
    stage.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_opens_a_call_and_is_silent_is_refused_in_time() {
    let stage = Stage::set().await;
    let consumer = stage.federation.server("consumer").unwrap();
    let shown = [
        consumer.path("authentication.pem"),
        consumer.path("authentication-key.pem"),
    ];
    let shown = (shown[0].as_path(), shown[1].as_path());
    let peer = HandmadePeer::connect_showing(shown, &stage.federation, "consumer", "provider");
    let conversation = peer.await.unwrap().open(Vec::new()).await.unwrap();
    let status = conversation.refusal().await.unwrap();
    assert_eq!(
        peer::refusal_code(&status),
        "provider.peer_lost",
        "{status:?}"
    );
    assert!(
        status.message().contains("sent no request in time"),
        "{status:?}"
    );
    stage.check("provider", "provider.peer_lost", "VN/GOV/A/consumer");
    stage.still_serves().await;
}
