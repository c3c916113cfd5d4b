//! The client of the benchmark counts what came back whole, and says what did not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use examples::{
    benchmark::load::{Concurrency, Load},
    echo::Echo,
};
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http2::Builder, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

fn load(address: &str, concurrency: usize) -> Load {
    Load {
        address: address.to_owned(),
        service: None,
        payload: 100_000,
        concurrency: Concurrency(concurrency),
        warm_up: Duration::ZERO,
        duration: Duration::from_millis(20),
    }
}

#[tokio::test]
async fn every_call_that_counts_was_answered_with_what_it_sent() {
    let echo = Echo::start().await.unwrap();
    let address = echo.address.trim_start_matches("http://");
    let outcome = load(address, 10).run(|| Ok(())).await.unwrap();
    assert_eq!((outcome.failed, outcome.first_failure), (0, None));
    assert!(outcome.latencies.len() >= 10);
    assert!(outcome.latencies.len() <= echo.calls());
    assert!(outcome.latencies.is_sorted());
}

/// A provider that answers every call with these headers and this body.
async fn provider(status: &'static str, body: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let answer = service_fn(move |_: Request<Incoming>| async move {
            let response = Response::builder().header("grpc-status", status);
            let body = Full::new(Bytes::from_static(body));
            Ok::<_, Infallible>(response.body(body).unwrap())
        });
        let _ = Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), answer)
            .await;
    });
    address
}

#[tokio::test]
async fn a_call_that_fails_is_counted_as_such() {
    assert!(failure("14", b"").await.contains("14"));
}

#[tokio::test]
async fn an_answer_that_is_not_the_question_counts_as_failed() {
    assert!(failure("0", b"something else").await.contains("differs"));
    let missing = failure("0", b"").await;
    assert!(missing.contains("100005 bytes missing"), "{missing}");
}

/// Why a call fails that is answered so; checks that none counts as answered.
async fn failure(status: &'static str, body: &'static [u8]) -> String {
    let load = load(&provider(status, body).await, 1);
    let outcome = load.run(|| Ok(())).await.unwrap();
    assert!(outcome.latencies.is_empty() && outcome.failed > 0);
    outcome.first_failure.unwrap()
}

#[test]
fn calls_at_once_are_spread_over_at_most_eight_connections() {
    for concurrency in [1, 7, 8, 64, 1000, 1003] {
        let concurrency = Concurrency(concurrency);
        let streams = (0..concurrency.connections()).map(|number| concurrency.streams(number));
        assert_eq!(streams.sum::<usize>(), concurrency.0);
        assert!(concurrency.connections() <= 8);
    }
}
