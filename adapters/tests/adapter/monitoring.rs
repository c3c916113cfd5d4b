//! What an adapter tells whoever watches it: calls, rows, undecodable values, and whether its database answers.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::{CONFIGURATION, HANGS, Place, replace, string, text};

async fn page(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: adapter\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    text(&answer)
}

#[tokio::test]
async fn calls_are_counted_by_method_and_outcome_and_readiness_asks_the_database() {
    let listen = "address = \"127.0.0.1:0\"\nmonitoring = \"127.0.0.1:0\"";
    let configuration = replace(CONFIGURATION, "address = \"127.0.0.1:0\"", listen);
    let strange = "{ name = \"full_name\", column = \"name\", type = \"text\" }";
    let replaced = "{ name = \"full_name\", column = \"name\", type = \"text\", text = { encoding = \"tcvn3\", undecodable = \"replace\" } }";
    let configuration = replace(&configuration, strange, replaced);
    let adapter = Place::new(&configuration).await.serve().await;
    let address = adapter.monitoring();
    let mut client = adapter.client().await;
    client
        .ask("Find", &[("id", string("001087123456"))])
        .await
        .unwrap();
    client
        .ask("Find", &[("id", string("001087123456"))])
        .await
        .unwrap();
    client
        .ask("Find", &[("id", string("000000000000"))])
        .await
        .unwrap_err();
    let counted = page(address, "/metrics").await;
    for line in [
        "lienthong_adapter_calls_total{method=\"Find\",outcome=\"answered\"} 2",
        "lienthong_adapter_calls_total{method=\"Find\",outcome=\"NO_RECORD\"} 1",
        "lienthong_adapter_rows_total{method=\"Find\"} 2",
        "lienthong_adapter_undecodable_values_total{method=\"Find\",field=\"full_name\"} 2",
        "lienthong_adapter_call_duration_seconds_count{method=\"Find\"} 3",
        "lienthong_adapter_database_answers 1",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
    assert!(!counted.contains("001087123456"), "{counted}");
    assert!(page(address, "/readyz").await.contains("200 OK"));
    let (here, away) = (
        adapter.place.path("register.db"),
        adapter.place.path("away.db"),
    );
    std::fs::rename(&here, &away).unwrap();
    let ready = until(address, "/readyz", "503").await;
    assert!(
        ready.contains("the database does not answer") && !ready.contains("register.db"),
        "{ready}"
    );
    assert!(
        page(address, "/metrics")
            .await
            .contains("lienthong_adapter_database_answers 0")
    );
    assert!(page(address, "/healthz").await.contains("alive"));
    std::fs::rename(&away, &here).unwrap();
    until(address, "/readyz", "200 OK").await;
}

/// A page as soon as it says this.
async fn until(address: &str, path: &str, words: &str) -> String {
    let said = async {
        loop {
            let page = page(address, path).await;
            if page.contains(words) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANGS, said).await.unwrap()
}
