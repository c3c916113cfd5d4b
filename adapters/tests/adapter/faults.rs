//! A database that is locked, gone, damaged or surprising: definite answers, and no restart.

use prost_reflect::Value;
use tonic::{Code, Status};

use crate::harness::{CONFIGURATION, Client, Place, RunningAdapter, reason, replace, string};

async fn find(client: &mut Client, id: &str) -> Result<Vec<(String, Value)>, Status> {
    client.ask("Find", &[("id", string(id))]).await
}

#[tokio::test]
async fn a_locked_database_is_unavailable_and_then_available() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let mut legacy = adapter.place.connection().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE")
        .execute(&mut legacy)
        .await
        .unwrap();
    let error = find(&mut client, "001087123456").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        reason(&error, "retry"),
        ("DATABASE_LOCKED".to_owned(), Some("true".to_owned()))
    );
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut legacy)
        .await
        .unwrap();
    find(&mut client, "001087123456").await.unwrap();
}

#[tokio::test]
async fn a_database_that_goes_away_and_comes_back_needs_no_restart() {
    let adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    find(&mut client, "001087123456").await.unwrap();
    let (here, away) = (
        adapter.place.path("register.db"),
        adapter.place.path("away.db"),
    );
    std::fs::rename(&here, &away).unwrap();
    let error = find(&mut client, "001087123456").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        reason(&error, "retry"),
        ("DATABASE_UNAVAILABLE".into(), Some("true".to_owned()))
    );
    assert!(
        !error.message().contains("register.db"),
        "{}",
        error.message()
    );
    std::fs::write(&here, [b'x'; 8192]).unwrap();
    let error = find(&mut client, "001087123456").await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error, "").0.as_str()),
        (Code::Internal, "DATABASE_DAMAGED")
    );
    std::fs::rename(&away, &here).unwrap();
    find(&mut client, "001087123456").await.unwrap();
}

#[tokio::test]
async fn a_value_that_is_not_what_was_declared_is_named_without_being_shown() {
    let mut adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let error = find(&mut client, "014200000001").await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert_eq!(
        reason(&error, "field"),
        ("VALUE_UNREADABLE".into(), Some("born_on".to_owned()))
    );
    assert!(!error.message().contains("1953"), "{}", error.message());
    let line = adapter.log_line(&["VALUE_UNREADABLE"]).await;
    assert!(line.contains("born_on") && !line.contains("1953"), "{line}");
}

#[tokio::test]
async fn a_statement_that_fails_while_running_tells_nothing_of_itself() {
    let mut adapter = RunningAdapter::start().await;
    let mut client = adapter.client().await;
    let error = client
        .ask("Parse", &[("text", string("{secret"))])
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), reason(&error, "").0.as_str()),
        (Code::Internal, "STATEMENT_FAILED")
    );
    let line = adapter.log_line(&["STATEMENT_FAILED"]).await;
    for text in [error.message(), &line] {
        assert!(
            !text.contains("secret") && !text.to_lowercase().contains("json"),
            "{text}"
        );
    }
    let mut legacy = adapter.place.connection().await;
    sqlx::raw_sql("DROP TABLE person")
        .execute(&mut legacy)
        .await
        .unwrap();
    let error = find(&mut client, "001087123456").await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error, "").0.as_str()),
        (Code::Internal, "STATEMENT_FAILED")
    );
    assert!(!error.message().contains("person"), "{}", error.message());
}

#[tokio::test]
async fn a_large_value_meets_the_limits_and_not_the_memory() {
    let small = replace(
        CONFIGURATION,
        "[database]",
        "[database]\nmemory_bytes = 8388608",
    );
    let adapter = Place::new(&small).await.serve().await;
    let mut client = adapter.client().await;
    let size = |bytes| [("size", Value::I64(bytes))];
    assert!(client.ask("Large", &size(60_000)).await.is_ok());
    let error = client.ask("Large", &size(70_000)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert_eq!(
        reason(&error, "limit"),
        ("REPLY_TOO_LARGE".into(), Some("65536".to_owned()))
    );
    let error = client.ask("Large", &size(900_000_000)).await.unwrap_err();
    assert!(
        matches!(reason(&error, "").0.as_str(), "MEMORY" | "READING_STOPPED"),
        "{error:?}"
    );
    find(&mut client, "001087123456").await.unwrap();
}
