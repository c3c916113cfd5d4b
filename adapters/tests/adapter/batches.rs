//! Streams of messages with many records each: full, cut where they would be too large, and never one record twice.

use prost_reflect::Value;
use tonic::{Request, Status};

use crate::harness::{Client, Place, RunningAdapter, reason, replace, text};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
sqlite = "register.db"

[limits]
reply_bytes = 4096

[[methods]]
name = "List"
kind = "batches"
rows_per_message = 10
max_rows = 35
sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i, printf('%.*c', :size, 'x') AS filling FROM n WHERE :count > 0"
request = [{ name = "count", type = "integer" }, { name = "size", type = "integer" }]
reply = [{ name = "number", column = "i", type = "integer" }, { name = "filling", type = "text" }]
"#;

/// The numbers of each message.
async fn list(
    client: &mut Client,
    count: i64,
    size: i64,
) -> Result<Vec<Vec<i64>>, (Vec<Vec<i64>>, Status)> {
    let fields = [("count", Value::I64(count)), ("size", Value::I64(size))];
    let request = Request::new(client.request("List", &fields));
    let mut stream = client
        .stream("List", request)
        .await
        .map_err(|status| (Vec::new(), status))?;
    let mut messages = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => {
                let fields = client.fields("List", message);
                assert_eq!(fields[0].0, "records");
                let records = fields[0].1.as_list().unwrap().iter();
                let number = |record: &Value| {
                    let record = record.as_message().unwrap();
                    record
                        .get_field_by_name("number")
                        .unwrap()
                        .as_i64()
                        .unwrap()
                };
                messages.push(records.map(number).collect());
            }
            Ok(None) => return Ok(messages),
            Err(status) => return Err((messages, status)),
        }
    }
}

async fn start() -> RunningAdapter {
    Place::over(CONFIGURATION, "CREATE TABLE t(a)")
        .await
        .serve()
        .await
}

#[tokio::test]
async fn every_record_comes_once_and_in_order() {
    let adapter = start().await;
    let mut client = adapter.client().await;
    for count in [0, 1, 9, 10, 11, 20, 35] {
        let messages = list(&mut client, count, 1).await.unwrap();
        let expected: Vec<i64> = (1..=count).collect();
        assert_eq!(messages.concat(), expected);
        assert!(
            messages
                .iter()
                .rev()
                .skip(1)
                .all(|message| message.len() == 10),
            "{messages:?}"
        );
        assert!(
            messages.iter().all(|message| !message.is_empty()),
            "{messages:?}"
        );
    }
    // 4,096 bytes hold three of these; none is left out where a message is cut.
    let messages = list(&mut client, 20, 1_200).await.unwrap();
    assert_eq!(messages.concat(), (1..=20).collect::<Vec<i64>>());
    assert!(
        messages.iter().all(|message| message.len() <= 3),
        "{messages:?}"
    );
    let messages = list(&mut client, 5, 4_000).await.unwrap();
    assert_eq!(messages, [[1], [2], [3], [4], [5]]);
}

#[tokio::test]
async fn what_is_too_much_is_refused_by_name() {
    let adapter = start().await;
    let mut client = adapter.client().await;
    let (messages, status) = list(&mut client, 36, 1).await.unwrap_err();
    assert_eq!(
        reason(&status, "limit"),
        ("ROW_LIMIT".into(), Some("35".into()))
    );
    assert!(messages.concat().len() <= 35);
    let (messages, status) = list(&mut client, 3, 5_000).await.unwrap_err();
    assert_eq!(reason(&status, "").0, "REPLY_TOO_LARGE");
    assert!(messages.is_empty());
}

#[tokio::test]
async fn records_in_batches_are_another_message_for_callers() {
    let adapter = start().await;
    let place = &adapter.place;
    let proto = text(&place.run("proto", &[]).stdout);
    assert!(
        proto.contains("rpc List(ListRequest) returns (stream ListReply);"),
        "{proto}"
    );
    assert!(proto.contains("message ListReply {\n  // In the order of the register.\n  repeated ListRecord records = 1;\n}"), "{proto}");
    assert!(proto.contains("message ListRecord {"), "{proto}");
    let single = replace(
        CONFIGURATION,
        "kind = \"batches\"\nrows_per_message = 10\n",
        "kind = \"server-streaming\"\n",
    );
    std::fs::write(place.config(), &single).unwrap();
    let refused = place.run("proto", &[]);
    assert!(
        text(&refused.stderr).contains("method List was batches and became server-streaming"),
        "{}",
        text(&refused.stderr)
    );
    std::fs::write(
        place.config(),
        replace(&single, "max_rows", "rows_per_message = 3\nmax_rows"),
    )
    .unwrap();
    let said = text(&place.run("proto", &[]).stderr);
    assert!(
        said.contains(
            "only a method of kind \"batches\" or \"changes\" has many rows in a message"
        ),
        "{said}"
    );
}
