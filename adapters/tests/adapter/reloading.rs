//! A new configuration without a restart: taken whole when it fits, and left alone when it does not.

use tonic::Request;

use crate::harness::{CONFIGURATION, Place, RunningAdapter, reason, replace, string};

async fn hang_up(adapter: &mut RunningAdapter, configuration: &str, words: &[&str]) -> String {
    std::fs::write(adapter.place.config(), configuration).unwrap();
    adapter.signal("-HUP");
    adapter.log_line(words).await
}

#[tokio::test]
async fn a_configuration_that_fits_is_served_and_calls_that_have_begun_end_as_they_began() {
    let mut adapter = Place::new(CONFIGURATION).await.serve().await;
    let mut client = adapter.client().await;
    let request = client.request("List", &[("first", prost_reflect::Value::I64(0))]);
    let mut begun = client.stream("List", Request::new(request)).await.unwrap();
    assert!(begun.message().await.unwrap().is_some());

    let narrower = replace(
        CONFIGURATION,
        "WHERE id = :id AND",
        "WHERE id = :id AND id <> '001087123456' AND",
    );
    hang_up(
        &mut adapter,
        &narrower,
        &["the new configuration is served"],
    )
    .await;
    let error = client
        .ask("Find", &[("id", string("001087123456"))])
        .await
        .unwrap_err();
    assert_eq!(reason(&error, "").0, "NO_RECORD");
    while begun.message().await.unwrap().is_some() {}

    // What the .proto only says in words is no other form.
    let more = replace(CONFIGURATION, "max_rows = 3", "max_rows = 4");
    hang_up(&mut adapter, &more, &["the new configuration is served"]).await;
    // Back again.
    hang_up(
        &mut adapter,
        CONFIGURATION,
        &["the new configuration is served"],
    )
    .await;
    client
        .ask("Find", &[("id", string("001087123456"))])
        .await
        .unwrap();
}

#[tokio::test]
async fn one_that_does_not_fit_changes_nothing_and_is_named() {
    let mut adapter = Place::new(CONFIGURATION).await.serve().await;
    let mut client = adapter.client().await;
    for (from, to, expected) in [
        ("FROM person", "FROM nobody", "no such table: nobody"),
        ("[limits]", "[limit]", "unknown field `limit`"),
        // What security servers read in it is no mere comment.
        ("subject = \"id\"\n", "", "changes the published .proto"),
        (
            "address = \"127.0.0.1:0\"",
            "unix = \"other.sock\"",
            "changes where the adapter listens",
        ),
        (
            "{ name = \"weight\", type = \"double\" },\n",
            "{ name = \"weight\", type = \"integer\" },\n",
            "does not cover the configuration",
        ),
        (
            "sqlite = \"register.db\"",
            "sqlite = \"nowhere.db\"",
            "nowhere.db",
        ),
    ] {
        let line = hang_up(
            &mut adapter,
            &replace(CONFIGURATION, from, to),
            &["is not served"],
        )
        .await;
        assert!(line.contains(expected), "{expected}: {line}");
        client
            .ask("Find", &[("id", string("001087123456"))])
            .await
            .unwrap();
    }
}
