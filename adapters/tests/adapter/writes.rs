//! Methods that write: all steps or none, once for each key, whatever happens in between.

use std::collections::BTreeSet;

use prost_reflect::Value;
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::{
    harness::{Client, Place, reason, replace, string, text},
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
name = "Declare"
kind = "unary"
idempotency_key = "declaration"
steps = [
    { name = "number", sql = "UPDATE so_dem SET so_cuoi = so_cuoi + 1 WHERE xa = :commune" },
    { name = "birth", sql = "INSERT INTO khai_sinh (so, xa, to_khai, ho_ten, ngay_sinh) VALUES ((SELECT so_cuoi FROM so_dem WHERE xa = :commune), :commune, :declaration, :name, :born)" },
]
sql = "SELECT so, ho_ten FROM khai_sinh WHERE to_khai IN (:declaration)"
request = [
    { name = "declaration", type = "text" },
    { name = "commune", type = "integer" },
    { name = "name", type = "text", text = { encoding = "tcvn3", capitals = "name" } },
    { name = "born", type = "date", required = false },
]
reply = [
    { name = "number", column = "so", type = "integer" },
    { name = "full_name", column = "ho_ten", type = "text", text = { encoding = "tcvn3", capitals = "name" } },
]

[[methods]]
name = "Open"
kind = "unary"
natural_key = { table = "so_dem", columns = ["xa"] }
steps = [{ name = "open", sql = "INSERT INTO so_dem (xa, so_cuoi) VALUES (:commune, :first)" }]
sql = "SELECT xa, so_cuoi FROM so_dem WHERE xa = :commune AND so_cuoi = :first"
request = [{ name = "commune", type = "integer" }, { name = "first", type = "integer" }]
reply = [{ name = "commune", column = "xa", type = "integer" }, { name = "last", column = "so_cuoi", type = "integer" }]

[[methods]]
name = "Count"
kind = "unary"
sql = "SELECT count(*) AS births, (SELECT so_cuoi FROM so_dem WHERE xa = 1) AS last FROM khai_sinh"
reply = [{ name = "births", type = "integer" }, { name = "last", type = "integer" }]
"#;

/// The register of births, with the number that each commune gave last.
pub const TABLES: &str = "
    CREATE TABLE so_dem (xa INTEGER PRIMARY KEY, so_cuoi INTEGER NOT NULL);
    INSERT INTO so_dem VALUES (1, 0);
    CREATE TABLE khai_sinh (so INTEGER NOT NULL, xa INTEGER NOT NULL REFERENCES so_dem, to_khai VARCHAR(40) UNIQUE,
        ho_ten TEXT_TYPE NOT NULL, ngay_sinh DATE, UNIQUE (xa, so), CHECK (so < 1000));";

/// A register, and the adapter that is to write it.
pub struct Written {
    pub database: Register,
    pub place: Place,
}

/// As `adapter ddl` prints it.
pub fn key_table(configuration: &str) -> String {
    let printed = Place::without_database(configuration).run("ddl", &[]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    text(&printed.stdout)
}

pub async fn registers() -> [Written; 3] {
    let with = |table: &str| CONFIGURATION.replace("DATABASE", table);
    let tables = |text_type: &str| TABLES.replace("TEXT_TYPE", text_type);
    let database = Register::sqlite(&tables("TEXT")).await;
    let configuration = with(&database.table());
    database.run(&key_table(&configuration)).await;
    let sqlite = Written {
        place: Place::without_database(&configuration),
        database,
    };
    let database = Postgresql::new("LATIN1", &tables("VARCHAR(60)")).await;
    let configuration = with(&database.table());
    database.run(&key_table(&configuration)).await;
    let name = &database.name;
    database
        .run(&format!(
            "GRANT SELECT, INSERT, UPDATE ON so_dem, khai_sinh, lienthong_written TO {name}"
        ))
        .await;
    let postgresql = Written {
        place: Place::without_database(&configuration),
        database: Register::Postgresql(database),
    };
    let database = MariaDb::new(&tables("VARCHAR(60) CHARACTER SET latin1")).await;
    let configuration = with(&database.table());
    database.run(&key_table(&configuration)).await;
    let name = &database.name;
    database
        .run(&format!("GRANT INSERT, UPDATE ON {name}.* TO {name}"))
        .await;
    let mariadb = Written {
        place: Place::without_database(&configuration),
        database: Register::MariaDb(database),
    };
    [sqlite, postgresql, mariadb]
}

type Reply = Vec<(String, Value)>;

async fn declare(
    client: &mut Client,
    consumer: &str,
    declaration: &str,
    commune: i64,
    name: &str,
) -> Result<Reply, Status> {
    let fields = [
        ("declaration", string(declaration)),
        ("commune", Value::I64(commune)),
        ("name", string(name)),
        ("born", string("2026-11-26")),
    ];
    let mut request = Request::new(client.request("Declare", &fields));
    let consumer = MetadataValue::try_from(consumer).unwrap();
    request.metadata_mut().insert("x-road-client", consumer);
    client.send("Declare", request).await
}

fn born(number: i64, name: &str) -> Reply {
    vec![
        ("number".to_owned(), Value::I64(number)),
        ("full_name".to_owned(), string(name)),
    ]
}

/// Births, and the last number of the first commune.
async fn counts(client: &mut Client) -> (Value, Value) {
    let reply = client.ask("Count", &[]).await.unwrap();
    (reply[0].1.clone(), reply[1].1.clone())
}

const fn numbers(births: i64, last: i64) -> (Value, Value) {
    (Value::I64(births), Value::I64(last))
}

#[tokio::test]
async fn a_call_that_is_repeated_is_answered_the_same_and_changes_nothing_more() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let first = declare(&mut client, "VN/GOV/A/desk", "TK-1", 1, "Đặng Thị Ánh")
            .await
            .unwrap();
        assert_eq!(first, born(1, "Đặng Thị Ánh"), "{engine}");
        // Also after something of it was changed in the register: it is the answer of then.
        let hex = if engine == "PostgreSQL" {
            "E'X'"
        } else {
            "'X'"
        };
        database
            .run(&format!("UPDATE khai_sinh SET ho_ten = {hex}"))
            .await;
        let again = declare(&mut client, "VN/GOV/A/desk", "TK-1", 1, "Đặng Thị Ánh")
            .await
            .unwrap();
        assert_eq!(again, first, "{engine}");
        assert_eq!(counts(&mut client).await, numbers(1, 1), "{engine}");

        let other_request = declare(&mut client, "VN/GOV/A/desk", "TK-1", 1, "Đặng Thị Anh")
            .await
            .unwrap_err();
        assert_eq!(other_request.code(), Code::FailedPrecondition, "{engine}");
        let expected = ("KEY_REUSED".to_owned(), Some("declaration".to_owned()));
        assert_eq!(reason(&other_request, "field"), expected, "{engine}");
        let nobody = "x".repeat(401);
        let unreadable = declare(&mut client, &nobody, "TK-2", 1, "An").await;
        let unreadable = reason(&unreadable.unwrap_err(), "");
        assert_eq!(unreadable.0, "CALLER_UNREADABLE", "{engine}");
        // Another consumer's key is another key: nobody is answered what was answered to somebody else.
        let other = declare(&mut client, "VN/GOV/B/desk", "TK-1", 1, "Đặng Thị Ánh")
            .await
            .unwrap_err();
        assert_eq!(
            reason(&other, "step"),
            ("CONFLICT".into(), Some("birth".into())),
            "{engine}"
        );
        assert_eq!(other.code(), Code::AlreadyExists, "{engine}");
        assert_eq!(counts(&mut client).await, numbers(1, 1), "{engine}");
    }
}

#[tokio::test]
async fn text_is_stored_in_the_encoding_of_its_column() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        declare(&mut client, "a", "TK-1", 1, "Đặng Thị Ước")
            .await
            .unwrap();
        // In either normal form, which here are the same name.
        declare(
            &mut client,
            "a",
            "TK-2",
            1,
            "Đa\u{306}\u{323}ng Thi\u{323} U\u{31b}o\u{31b}\u{301}c",
        )
        .await
        .unwrap();
        let bytes = match &database {
            Register::Sqlite(_) => {
                "SELECT count(*) FROM khai_sinh WHERE ho_ten = CAST(x'a7c66e67205468de20a6ed63' AS TEXT)"
            }
            Register::Postgresql(_) => {
                "SELECT count(*) FROM khai_sinh WHERE convert_to(ho_ten, 'LATIN1') = '\\xa7c66e67205468de20a6ed63'"
            }
            Register::MariaDb(_) => {
                "SELECT count(*) FROM khai_sinh WHERE CAST(ho_ten AS BINARY) = x'a7c66e67205468de20a6ed63'"
            }
        };
        assert_eq!(database.number(bytes).await, 2, "{engine}");
        // Which letters are capitals is a matter of the column's rule: TCVN3 does not say.
        let kept = declare(&mut client, "a", "TK-4", 1, "ái").await.unwrap();
        let name = kept.iter().find(|(field, _)| field == "full_name");
        assert_eq!(name.unwrap().1, Value::String("Ái".to_owned()), "{engine}");
        // Letters that the encoding cannot hold are refused, and nothing happens.
        for name in ["Ea M’Droh", "x\u{1f476}"] {
            let error = declare(&mut client, "a", "TK-3", 1, name)
                .await
                .unwrap_err();
            let expected = ("FIELD_INVALID".to_owned(), Some("name".to_owned()));
            assert_eq!(reason(&error, "field"), expected, "{engine}: {name}");
        }
        assert_eq!(counts(&mut client).await, numbers(3, 3), "{engine}");
    }
}

#[tokio::test]
async fn a_step_that_does_not_fit_takes_everything_back_and_frees_the_key() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let error = declare(&mut client, "a", "TK-1", 9, "Anh")
            .await
            .unwrap_err();
        assert_eq!(
            reason(&error, "step"),
            ("STEP_ROWS".into(), Some("number".into())),
            "{engine}"
        );
        assert_eq!(reason(&error, "changed").1, Some("0".into()), "{engine}");
        assert_eq!(error.code(), Code::FailedPrecondition, "{engine}");
        database
            .run("UPDATE so_dem SET so_cuoi = 999 WHERE xa = 1")
            .await;
        let error = declare(&mut client, "a", "TK-1", 1, "Anh")
            .await
            .unwrap_err();
        assert_eq!(
            reason(&error, "step"),
            ("CONSTRAINT".into(), Some("birth".into())),
            "{engine}: {error:?}"
        );
        assert!(
            !error.message().contains("khai_sinh"),
            "{}",
            error.message()
        );
        assert_eq!(counts(&mut client).await, numbers(0, 999), "{engine}");
        database
            .run("UPDATE so_dem SET so_cuoi = 5 WHERE xa = 1")
            .await;
        assert_eq!(
            declare(&mut client, "a", "TK-1", 1, "Anh").await.unwrap(),
            born(6, "Anh"),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_value_that_is_too_large_for_its_column_changes_nothing_and_is_not_the_operators_fault() {
    for Written { database, place } in registers().await {
        // SQLite keeps what it is given.
        let engine = database.engine();
        if engine == "SQLite" {
            continue;
        }
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let error = declare(&mut client, "a", "TK-1", 1, &"x".repeat(61))
            .await
            .unwrap_err();
        assert_eq!(
            reason(&error, "step"),
            ("CONSTRAINT".into(), Some("birth".into())),
            "{engine}"
        );
        assert_eq!(counts(&mut client).await, numbers(0, 0), "{engine}");
    }
}

#[tokio::test]
async fn of_calls_at_once_with_one_key_one_is_carried_out() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let patient = std::fs::read_to_string(place.config()).unwrap();
        let patient = replace(
            &patient,
            "[database]\n",
            "[database]\nlock_timeout = \"30s\"\n",
        );
        std::fs::write(place.config(), patient).unwrap();
        let adapter = place.serve().await;
        let mut calls = tokio::task::JoinSet::new();
        for call in 0..24 {
            let mut client = adapter.client().await;
            calls.spawn(async move {
                let declaration = format!("TK-{}", call % 3);
                (
                    call % 3,
                    declare(&mut client, "a", &declaration, 1, "Anh")
                        .await
                        .unwrap(),
                )
            });
        }
        let answers: BTreeSet<String> = calls
            .join_all()
            .await
            .into_iter()
            .map(|answer| format!("{answer:?}"))
            .collect();
        assert_eq!(answers.len(), 3, "{engine}: {answers:?}");
        assert_eq!(
            counts(&mut adapter.client().await).await,
            numbers(3, 3),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_natural_key_finds_what_was_written_before() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let adapter = place.serve().await;
        let mut client = adapter.client().await;
        let open = |first| [("commune", Value::I64(7)), ("first", Value::I64(first))];
        let expected = vec![
            ("commune".to_owned(), Value::I64(7)),
            ("last".to_owned(), Value::I64(100)),
        ];
        assert_eq!(
            client.ask("Open", &open(100)).await.unwrap(),
            expected,
            "{engine}"
        );
        assert_eq!(
            client.ask("Open", &open(100)).await.unwrap(),
            expected,
            "{engine}"
        );
        // What another call wrote under this key is not answered as if it were this one's.
        let other = client.ask("Open", &open(200)).await.unwrap_err();
        let conflict = ("CONFLICT".to_owned(), Some("open".to_owned()));
        assert_eq!(reason(&other, "step"), conflict, "{engine}");
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let mut client = adapter.client().await;
            calls.spawn(async move {
                let fields = [("commune", Value::I64(8)), ("first", Value::I64(1))];
                client.ask("Open", &fields).await.unwrap()
            });
        }
        let answers = calls.join_all().await;
        assert!(
            answers.iter().all(|answer| answer[1].1 == Value::I64(1)),
            "{engine}: {answers:?}"
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_or_done_twice_when_the_adapter_is_killed() {
    const DECLARATIONS: usize = 60;
    for Written { database, place } in registers().await {
        let engine = database.engine();
        let mut place = Some(place);
        let mut done: BTreeSet<usize> = BTreeSet::new();
        let mut lives = 0;
        while done.len() < DECLARATIONS {
            let mut adapter = place.take().unwrap().serve().await;
            let mut calls = tokio::task::JoinSet::new();
            for call in (0..DECLARATIONS).filter(|call| !done.contains(call)) {
                let mut client = adapter.client().await;
                calls.spawn(async move {
                    let declaration = format!("TK-{call}");
                    (
                        call,
                        declare(&mut client, "a", &declaration, 1, "Anh").await,
                    )
                });
            }
            // Each life ends when a few more are acknowledged, in the middle of the others.
            let mut acknowledged = 0;
            while let Some(ended) = calls.join_next().await {
                let (call, answer) = ended.unwrap();
                if answer.is_err() {
                    continue;
                }
                done.insert(call);
                acknowledged += 1;
                if acknowledged == 7 && done.len() < DECLARATIONS {
                    adapter.stop("-KILL").await;
                }
            }
            lives += 1;
            assert!(lives < 200, "{engine}: {done:?}");
            place = Some(adapter.place);
        }
        assert!(lives > 1, "{engine}");
        for (sql, expected) in [
            ("SELECT count(*) FROM khai_sinh", 60),
            ("SELECT count(DISTINCT to_khai) FROM khai_sinh", 60),
            ("SELECT CAST(max(so) AS INTEGER) FROM khai_sinh", 60),
            (
                "SELECT count(*) FROM lienthong_written WHERE reply IS NOT NULL",
                60,
            ),
            (
                "SELECT count(*) FROM lienthong_written WHERE reply IS NULL",
                0,
            ),
        ] {
            let sql = match &database {
                Register::Sqlite(_) => sql.to_owned(),
                Register::Postgresql(_) => sql.replace("AS INTEGER", "AS BIGINT"),
                Register::MariaDb(_) => sql.replace("AS INTEGER", "AS SIGNED"),
            };
            assert_eq!(database.number(&sql).await, expected, "{engine}: {sql}");
        }
    }
}
