//! What the authority takes out of the registry ends open streams, on connections that stay open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::ffi::OsStr;

use examples::{
    bare_caller::BareCaller,
    caller::Caller,
    echo::{self, CLIENT, Echo, FOLLOW, PROVIDER, SAY},
    federation::Federation,
    message_log::MessageLog,
    peer,
};
use prost_reflect::DynamicMessage;
use serde_json::json;
use tonic::Streaming;
use trust::ExchangeId;

const CONSUMER: &str = "VN/GOV/A/consumer";

struct Stage {
    federation: Federation,
    echo: Echo,
    directory: tempfile::TempDir,
}

impl Stage {
    async fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let echo = Echo::start().await.unwrap();
        let plan = echo::plan(&echo.address);
        Self {
            federation: Federation::start(directory.path(), &plan).await.unwrap(),
            echo,
            directory,
        }
    }

    fn address(&self) -> &str {
        let consumer = self.federation.server("consumer").unwrap();
        consumer.plaintext(CLIENT).unwrap()
    }

    /// An open stream that has given its first reply.
    async fn follow(&self) -> (ExchangeId, Streaming<DynamicMessage>) {
        let caller = Caller::plaintext(self.address()).await.unwrap();
        let caller = caller.with("x-road-service", PROVIDER).unwrap();
        let method = echo::method(self.directory.path(), FOLLOW).unwrap();
        let response = caller
            .server_streaming(&method, json!({ "text": "on" }))
            .await;
        let response = response.unwrap();
        let exchange = response.metadata().get("x-road-exchange-id").unwrap();
        let exchange = exchange.to_str().unwrap().parse().unwrap();
        let mut replies = response.into_inner();
        assert!(replies.message().await.unwrap().is_some());
        (exchange, replies)
    }

    /// Takes something out of the registry; both servers know it then.
    async fn remove(&self, command: &[&str], what: &[&OsStr]) {
        let registry = &self.federation.registry;
        registry.officer(command, what).await.unwrap();
        let serial = registry.serial_after_changes().await.unwrap();
        for server in self.federation.servers() {
            server.wait_for_serial(serial).await.unwrap();
        }
    }

    /// The open stream ends with one of these, and each log has the end of it, once.
    async fn ends(
        &self,
        exchange: ExchangeId,
        mut replies: Streaming<DynamicMessage>,
        codes: &[&str],
    ) {
        let calls = self.echo.calls();
        self.echo.release();
        let ended = replies.message().await.unwrap_err();
        let code = peer::refusal_code(&ended);
        assert!(codes.contains(&code), "{code}: {ended}");
        assert_eq!(self.echo.calls(), calls);
        let log = MessageLog::read(&self.federation.server("consumer").unwrap().endpoint().log);
        assert_eq!(log.unwrap().closings_of(exchange).len(), 1, "{code}");
    }

    /// The code of the refusal of a new call, and its message.
    async fn refused(&self) -> (String, String) {
        let caller = BareCaller::plaintext(self.address()).await.unwrap();
        let metadata = [("x-road-service", PROVIDER)];
        let answer = caller.call(SAY, &metadata, b"\x0a\x02hi").await.unwrap();
        let code = answer.field("x-road-refusal").unwrap_or("answered");
        (code.to_owned(), answer.status.message().to_owned())
    }

    async fn end(self) {
        self.federation.audit().await.unwrap();
        let found = self.federation.reconcile("consumer", "provider").await;
        assert_eq!(found.unwrap()["failures"], 0);
        self.federation.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_is_removed_gets_and_sends_nothing_more() {
    let mut stage = Stage::set().await;
    let (exchange, replies) = stage.follow().await;
    let consumer = stage.federation.server("consumer").unwrap();
    let certificate = consumer.path("authentication.pem");
    stage
        .remove(&["certificate", "remove"], &[certificate.as_os_str()])
        .await;
    stage
        .ends(exchange, replies, &["provider.unknown_server"])
        .await;
    // The connection is still open, and is asked for with each message.
    assert_eq!(stage.refused().await.0, "provider.unknown_server");
    let consumer = stage.federation.server_mut("consumer").unwrap();
    consumer.stop().await.unwrap();
    consumer.start().await.unwrap();
    // In TLS 1.3 the refused side learns of it when it sends: both see a lost connection, and why.
    let (code, message) = stage.refused().await;
    assert!(code.starts_with("consumer.peer_"), "{code}: {message}");
    assert!(message.contains("certificate"), "{message}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subsystem_whose_registration_is_removed_gets_and_sends_nothing_more() {
    let stage = Stage::set().await;
    let (exchange, replies) = stage.follow().await;
    let what = [CONSUMER, CLIENT].map(OsStr::new);
    stage.remove(&["registration", "remove"], &what).await;
    // Whichever side is asked first.
    let codes = [
        "provider.not_registered_at_server",
        "consumer.unknown_client",
    ];
    stage.ends(exchange, replies, &codes).await;
    assert_eq!(stage.refused().await.0, "consumer.unknown_client");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_moved_away_is_not_asked_where_it_was() {
    let stage = Stage::set().await;
    let (exchange, replies) = stage.follow().await;
    let what = ["VN/GOV/B/provider", PROVIDER].map(OsStr::new);
    stage.remove(&["registration", "remove"], &what).await;
    let codes = [
        "consumer.not_registered_at_server",
        "consumer.unknown_service",
    ];
    stage.ends(exchange, replies, &codes).await;
    assert_eq!(stage.refused().await.0, "consumer.unknown_service");
    stage.federation.stop().await.unwrap();
}
