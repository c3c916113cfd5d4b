//! Streams of changes: each one once and in order, also those that are committed late, from any point on.

use std::{process::Command, time::Duration};

use prost_reflect::Value;
use tokio::time::timeout;
use tonic::{Code, Request, Status};

use crate::{
    harness::{Client, HANGS, Place, RunningAdapter, reason, replace, string, text},
    servers::{MariaDb, Postgresql, Register},
};

pub const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
DATABASE

[[methods]]
name = "Changes"
kind = "changes"
changes = { table = "thay_doi", number = "number", of = "cong_dan", key = "so" }
sql = "SELECT c.number, c.operation, c.so, p.ho_ten FROM thay_doi c LEFT JOIN cong_dan p ON p.so = c.so WHERE c.number > :after AND c.number <= :until ORDER BY c.number"
rows_per_message = 100
timeout = "60s"
reply = [
    { name = "number", type = "integer" },
    { name = "operation", type = "text", codes = { I = "new", U = "changed", D = "gone", T = "all gone" } },
    { name = "id", column = "so", type = "text" },
    { name = "full_name", column = "ho_ten", type = "text" },
]
"#;

pub const TABLE: &str = "CREATE TABLE cong_dan (so VARCHAR(12) PRIMARY KEY, ho_ten VARCHAR(60));";

/// Registers whose changes are kept by what `adapter ddl` prints, run by the engines' own programs where they are servers.
pub async fn registers() -> [Register; 3] {
    let sqlite = Register::sqlite(TABLE).await;
    sqlite.run(&definition(&sqlite)).await;
    let postgresql = Register::Postgresql(Postgresql::new("UTF8", TABLE).await);
    postgresql.run(&definition(&postgresql)).await;
    let mariadb = Register::MariaDb(MariaDb::new(&in_utf8(TABLE)).await);
    let Register::MariaDb(own) = &mariadb else {
        unreachable!()
    };
    let ran = Command::new("mariadb")
        .args(["--no-defaults", "--user=root", "--execute"])
        .arg(definition(&mariadb))
        .arg("--socket")
        .arg(own.socket_file())
        .arg(&own.name)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let registers = [sqlite, postgresql, mariadb];
    for register in &registers {
        if let Register::Postgresql(own) = register {
            own.run(&format!("GRANT SELECT ON thay_doi TO {}", own.name))
                .await;
        }
    }
    registers
}

/// MariaDB's own default is another character set.
pub fn in_utf8(table: &str) -> String {
    replace(table, "VARCHAR(60)", "VARCHAR(60) CHARACTER SET utf8mb4")
}

pub fn place(register: &Register) -> Place {
    Place::without_database(&replace(CONFIGURATION, "DATABASE", &register.table()))
}

pub fn definition(register: &Register) -> String {
    let printed = place(register).run("ddl", &[]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    text(&printed.stdout)
}

/// A change as callers see it.
pub type Change = (i64, String, String, String);

#[derive(Debug, Default)]
pub struct Told {
    pub changes: Vec<Change>,
    pub position: Option<String>,
    pub messages: usize,
}

impl Told {
    pub fn take(&mut self, client: &Client, message: bytes::Bytes) {
        self.messages += 1;
        for (name, value) in client.fields("Changes", message) {
            match name.as_str() {
                "records" => {
                    let records = value.as_list().unwrap().iter();
                    self.changes.extend(records.map(change));
                }
                _ => self.position = Some(value.as_str().unwrap().to_owned()),
            }
        }
    }

    pub fn numbers(&self) -> Vec<i64> {
        self.changes.iter().map(|change| change.0).collect()
    }
}

fn change(record: &Value) -> Change {
    let record = record.as_message().unwrap();
    let field = |name| record.get_field_by_name(name).unwrap().into_owned();
    let text = |name| field(name).as_str().unwrap().to_owned();
    let number = field("number").as_i64().unwrap();
    (number, text("operation"), text("id"), text("full_name"))
}

pub fn fields(after: Option<&str>, follow: bool) -> Vec<(&'static str, Value)> {
    let after = after.map(|after| ("after", string(after)));
    let follow = follow.then_some(("follow", Value::Bool(true)));
    after.into_iter().chain(follow).collect()
}

/// What there is now behind a position.
pub async fn now(client: &mut Client, after: Option<&str>) -> Result<Told, Status> {
    let request = Request::new(client.request("Changes", &fields(after, false)));
    let mut stream = client.stream("Changes", request).await?;
    let mut told = Told::default();
    while let Some(message) = stream.message().await? {
        told.take(client, message);
    }
    Ok(told)
}

pub fn expected(changes: &[(i64, &str, &str, &str)]) -> Vec<Change> {
    changes
        .iter()
        .map(|(number, operation, id, name)| {
            (
                *number,
                operation.to_string(),
                id.to_string(),
                name.to_string(),
            )
        })
        .collect()
}

#[tokio::test]
async fn what_happens_in_a_table_is_told_in_its_order_and_gone_on_with() {
    for register in registers().await {
        let engine = register.engine();
        let adapter = place(&register).serve().await;
        let mut client = adapter.client().await;
        let told = now(&mut client, None).await.unwrap();
        assert_eq!((told.messages, told.position), (0, None), "{engine}");
        register
            .run("INSERT INTO cong_dan VALUES ('1', 'An'), ('2', 'Bình')")
            .await;
        register
            .run("UPDATE cong_dan SET ho_ten = 'Ân' WHERE so = '1'")
            .await;
        let told = now(&mut client, None).await.unwrap();
        // The record as it is now, for each of its changes.
        let first = [
            (1, "new", "1", "Ân"),
            (2, "new", "2", "Bình"),
            (3, "changed", "1", "Ân"),
        ];
        assert_eq!(told.changes, expected(&first), "{engine}");
        assert_eq!(told.position.as_deref(), Some("3"), "{engine}");
        let none = now(&mut client, Some("3")).await.unwrap();
        assert_eq!((none.messages, none.position), (0, None), "{engine}");

        // A key that changes is one record less and another more.
        register
            .run("UPDATE cong_dan SET so = '3' WHERE so = '2'")
            .await;
        register.run("DELETE FROM cong_dan WHERE so = '1'").await;
        let told = now(&mut client, Some("3")).await.unwrap();
        let later = [
            (4, "gone", "2", ""),
            (5, "new", "3", "Bình"),
            (6, "gone", "1", ""),
        ];
        assert_eq!(told.changes, expected(&later), "{engine}");
        assert_eq!(told.position.as_deref(), Some("6"), "{engine}");
        if engine == "PostgreSQL" {
            register.run("TRUNCATE cong_dan").await;
            let told = now(&mut client, Some("6")).await.unwrap();
            assert_eq!(told.changes, expected(&[(7, "all gone", "", "")]));
        }
        // A position that was never told, or whose change is no longer kept, is no place to go on from.
        for wrong in ["99", "1000000000000"] {
            let refused = now(&mut client, Some(wrong)).await.unwrap_err();
            assert_eq!(refused.code(), Code::OutOfRange, "{engine}");
            assert_eq!(reason(&refused, "").0, "POSITION_UNKNOWN", "{engine}");
        }
        register.run("DELETE FROM thay_doi WHERE number < 5").await;
        let refused = now(&mut client, Some("4")).await.unwrap_err();
        assert_eq!(reason(&refused, "").0, "POSITION_UNKNOWN", "{engine}");
        let told = now(&mut client, Some("5")).await.unwrap();
        assert_eq!(told.changes[0], expected(&later)[2], "{engine}");
        for wrong in ["0", "-1", "05", "5 ", "x", "99999999999999999999"] {
            let refused = now(&mut client, Some(wrong)).await.unwrap_err();
            let what = reason(&refused, "field");
            assert_eq!(
                what,
                ("FIELD_INVALID".into(), Some("after".into())),
                "{engine}: {wrong}"
            );
        }
    }
}

pub async fn next(stream: &mut tonic::Streaming<bytes::Bytes>) -> bytes::Bytes {
    let message = timeout(HANGS, stream.message()).await;
    message.expect("a message").unwrap().expect("no end")
}

#[tokio::test]
async fn more_than_one_look_and_one_message_hold_come_once_and_in_order() {
    let register = &registers().await[0];
    register
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25050) \
             INSERT INTO cong_dan SELECT CAST(i AS TEXT), 'N' FROM n",
        )
        .await;
    let adapter = place(register).serve().await;
    let mut client = adapter.client().await;
    let told = now(&mut client, None).await.unwrap();
    assert_eq!(told.numbers(), (1..=25_050).collect::<Vec<i64>>());
    assert_eq!(told.messages, 251);
    let told = now(&mut client, Some("24999")).await.unwrap();
    assert_eq!(told.numbers(), (25_000..=25_050).collect::<Vec<i64>>());
    // One that follows ends well when its time is over, and says where it stands.
    let mut request = Request::new(client.request("Changes", &fields(Some("25049"), true)));
    request.set_timeout(Duration::from_secs(3));
    let mut stream = client.stream("Changes", request).await.unwrap();
    let mut told = Told::default();
    while let Some(message) = stream.message().await.unwrap() {
        told.take(&client, message);
    }
    assert_eq!(
        (told.numbers(), told.position),
        (vec![25_050], Some("25050".into()))
    );
}

#[tokio::test]
async fn streams_need_no_second_connection_while_they_hold_one() {
    for register in registers().await {
        let engine = register.engine();
        let rows: Vec<_> = (0..300)
            .map(|number| format!("('{number}', 'N')"))
            .collect();
        register
            .run(&format!("INSERT INTO cong_dan VALUES {}", rows.join(", ")))
            .await;
        let place = place(&register);
        let configuration = std::fs::read_to_string(place.config()).unwrap();
        let one = replace(
            &configuration,
            &register.table(),
            &format!("{}\nconnections = 1", register.table()),
        );
        std::fs::write(place.config(), one).unwrap();
        let adapter = place.serve().await;
        let mut streams = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut client = adapter.client().await;
            streams.spawn(async move { now(&mut client, None).await.unwrap().numbers() });
        }
        for numbers in streams.join_all().await {
            assert_eq!(numbers, (1..=300).collect::<Vec<i64>>(), "{engine}");
        }
    }
}

#[tokio::test]
async fn the_most_rows_of_a_call_end_it_where_the_next_goes_on() {
    let register = &registers().await[0];
    register
        .run("INSERT INTO cong_dan VALUES ('1', 'A'), ('2', 'B'), ('3', 'C'), ('4', 'D'), ('5', 'E')")
        .await;
    let place = place(register);
    let few = replace(
        &std::fs::read_to_string(place.config()).unwrap(),
        "rows_per_message = 100",
        "rows_per_message = 2\nmax_rows = 3",
    );
    std::fs::write(place.config(), few).unwrap();
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    let told = now(&mut client, None).await.unwrap();
    assert_eq!(
        (told.numbers(), told.position.as_deref()),
        (vec![1, 2, 3], Some("3"))
    );
    let told = now(&mut client, Some("3")).await.unwrap();
    assert_eq!(
        (told.numbers(), told.position.as_deref()),
        (vec![4, 5], Some("5"))
    );
}

#[tokio::test]
async fn what_a_consumer_may_not_see_is_passed_over_and_not_looked_through_again() {
    let register = &registers().await[0];
    register
        .run("INSERT INTO cong_dan VALUES ('1', 'An'), ('2', 'Bình'), ('3', 'An'), ('4', 'Chi')")
        .await;
    let place = place(register);
    let configuration = std::fs::read_to_string(place.config()).unwrap();
    let configuration = replace(
        &configuration,
        "address = \"127.0.0.1:0\"",
        "unix = \"register.sock\"",
    );
    let configuration = replace(
        &configuration,
        "ORDER BY",
        "AND p.ho_ten IN (:name) ORDER BY",
    );
    let configuration = configuration
        + "filters = [{ name = \"name\", type = \"text\" }]\n\
           [[grants]]\nname = \"an\"\nconsumers = [\"VN/GOV/A/client\"]\nfilters = { name = \"An\" }\n";
    std::fs::write(place.config(), configuration).unwrap();
    let adapter = place.serve().await;
    let client = adapter.client().await;
    let mut request = Request::new(client.request("Changes", &fields(None, false)));
    request
        .metadata_mut()
        .insert("x-road-client", "VN/GOV/A/client".parse().unwrap());
    let mut stream = adapter
        .client()
        .await
        .stream("Changes", request)
        .await
        .unwrap();
    let mut told = Told::default();
    while let Some(message) = stream.message().await.unwrap() {
        told.take(&client, message);
    }
    assert_eq!(told.numbers(), [1, 3]);
    // The last message has no record, and says to go on behind the fourth.
    assert_eq!((told.messages, told.position.as_deref()), (2, Some("4")));
}

#[tokio::test]
async fn changes_that_the_sql_text_tells_in_another_order_are_refused() {
    let register = &registers().await[0];
    register
        .run("INSERT INTO cong_dan VALUES ('1', 'A'), ('2', 'B')")
        .await;
    for (written, wrong) in [
        ("ORDER BY c.number", "ORDER BY c.number DESC"),
        ("c.number > :after", "(c.number > :after OR c.number = 1)"),
        (
            "AND c.number <= :until ORDER",
            "AND :until > 0 UNION ALL SELECT 1, 'I', '1', 'A' ORDER",
        ),
    ] {
        let place = place(register);
        let configuration = std::fs::read_to_string(place.config()).unwrap();
        let order = if wrong.contains("UNION") {
            "ORDER BY 1"
        } else {
            ""
        };
        let configuration = replace(&configuration, written, wrong);
        let configuration = match order {
            "" => configuration,
            order => replace(&configuration, "ORDER BY c.number", order),
        };
        std::fs::write(place.config(), configuration).unwrap();
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let refused = match now(&mut client, Some("1")).await {
            Err(refused) => refused,
            Ok(_) => now(&mut client, None).await.unwrap_err(),
        };
        assert_eq!(reason(&refused, "").0, "CHANGES_OUT_OF_ORDER", "{wrong}");
        assert_eq!(refused.code(), Code::Internal);
    }
}

#[tokio::test]
async fn a_call_that_finds_nothing_for_its_caller_comes_further_all_the_same() {
    let register = &registers().await[0];
    register
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) \
             INSERT INTO cong_dan SELECT CAST(i AS TEXT), 'N' FROM n",
        )
        .await;
    let place = place(register);
    let configuration = std::fs::read_to_string(place.config()).unwrap();
    let nothing = replace(&configuration, "ORDER BY", "AND c.so = 'none' ORDER BY");
    std::fs::write(place.config(), replace(&nothing, "\"60s\"", "\"1500ms\"")).unwrap();
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    let mut position: Option<String> = None;
    let whole = async {
        while position.as_deref() != Some("400000") {
            let told = now(&mut client, position.as_deref()).await.unwrap();
            assert_eq!(told.numbers(), [0_i64; 0]);
            position = Some(told.position.expect("a way on"));
        }
    };
    timeout(HANGS, whole).await.unwrap();
}

#[tokio::test]
async fn streams_that_wait_end_well_when_the_adapter_does() {
    let register = &registers().await[0];
    register.run("INSERT INTO cong_dan VALUES ('1', 'A')").await;
    let mut adapter = place(register).serve().await;
    let mut client = adapter.client().await;
    let request = Request::new(client.request("Changes", &fields(None, true)));
    let mut stream = client.stream("Changes", request).await.unwrap();
    next(&mut stream).await;
    let ended = async {
        assert!(stream.message().await.unwrap().is_none());
    };
    let (status, ()) = tokio::join!(adapter.stop("-TERM"), ended);
    assert!(status.success());
    // It did not have to be cut.
    let cut = adapter.log_line(&["stopping"]).await;
    assert!(!cut.contains("were cut"), "{cut}");
}

#[tokio::test]
async fn a_caller_that_does_not_read_keeps_no_place_beyond_its_time() {
    let register = &registers().await[0];
    register
        .run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) \
             INSERT INTO cong_dan SELECT CAST(i AS TEXT), printf('%.*c', 60, 'x') FROM n",
        )
        .await;
    let place = place(register);
    let one = std::fs::read_to_string(place.config()).unwrap();
    let one = replace(&one, "timeout = \"60s\"", "timeout = \"2s\"");
    let one = replace(
        &one,
        "[[methods]]",
        "[limits]\nconcurrent_calls = 1\n[[methods]]",
    );
    std::fs::write(place.config(), one).unwrap();
    let adapter = place.serve().await;
    let mut idle = adapter.client().await;
    let request = Request::new(idle.request("Changes", &fields(None, true)));
    let _unread = idle.stream("Changes", request).await.unwrap();
    let mut client = adapter.client().await;
    let free = async {
        loop {
            match now(&mut client, Some("60000")).await {
                Ok(_) => return,
                Err(refused) => assert_eq!(reason(&refused, "").0, "TOO_MANY_CALLS"),
            }
        }
    };
    timeout(HANGS / 4, free).await.unwrap();
}

#[tokio::test]
async fn an_unreadable_record_is_named_behind_those_before_it() {
    let register = &registers().await[0];
    for number in 1..=8 {
        let name = if number == 7 {
            "x'ff'".to_owned()
        } else {
            "'A'".to_owned()
        };
        register
            .run(&format!(
                "INSERT INTO cong_dan VALUES ('{number}', CAST({name} AS TEXT))"
            ))
            .await;
    }
    let adapter = place(register).serve().await;
    let mut client = adapter.client().await;
    let request = Request::new(client.request("Changes", &fields(None, false)));
    let mut stream = client.stream("Changes", request).await.unwrap();
    let mut told = Told::default();
    told.take(&client, next(&mut stream).await);
    assert_eq!(
        (told.numbers(), told.position),
        ((1..=6).collect(), Some("6".into()))
    );
    let refused = stream.message().await.unwrap_err();
    let expected = ("VALUE_UNREADABLE".to_owned(), Some("7".to_owned()));
    assert_eq!(reason(&refused, "row"), expected);
}

#[tokio::test]
async fn fixtures_tell_changes_as_a_database_does() {
    let base = replace(CONFIGURATION, "DATABASE", "sqlite = \"register.db\"");
    let place = Place::without_database(&base);
    let fixtures = place.path("fixtures");
    std::fs::create_dir(&fixtures).unwrap();
    std::fs::write(
        fixtures.join("Changes.csv"),
        "number,operation,id,full_name\n1,new,1,An\n2,changed,1,Ân\n10,gone,1,\n",
    )
    .unwrap();
    let folder = fixtures.to_str().unwrap().to_owned();
    let adapter: RunningAdapter = place.run_server(&["mock", "--fixtures", &folder]).await;
    let mut client = adapter.client().await;
    let told = now(&mut client, None).await.unwrap();
    let all = [
        (1, "new", "1", "An"),
        (2, "changed", "1", "Ân"),
        (10, "gone", "1", ""),
    ];
    assert_eq!(told.changes, expected(&all));
    let told = now(&mut client, Some("2")).await.unwrap();
    assert_eq!(told.changes, expected(&all[2..]));
}

#[tokio::test]
async fn the_published_form_says_how_to_go_on() {
    let register = &registers().await[0];
    let proto = text(&place(register).run("proto", &[]).stdout);
    for line in [
        "rpc Changes(ChangesRequest) returns (stream ChangesReply);",
        "optional string after = 1;",
        "optional bool follow = 2;",
        "message ChangesReply {\n  // In the order of the register.\n  repeated ChangesRecord records = 1;\n\n  // Where to go on",
        "string position = 2;",
    ] {
        assert!(proto.contains(line), "{line}\n{proto}");
    }
}
