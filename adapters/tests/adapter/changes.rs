//! Streams of changes: each one once and in order, also those that are committed late, from any point on.

use std::{process::Command, time::Duration};

use prost_reflect::Value;
use sqlx::{Connection, MySqlConnection, PgConnection};
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Status};

use crate::{
    harness::{Client, HANGS, Place, RunningAdapter, reason, replace, string, text},
    servers::{MariaDb, Postgresql, Register},
};

const CONFIGURATION: &str = r#"
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

const TABLE: &str = "CREATE TABLE cong_dan (so VARCHAR(12) PRIMARY KEY, ho_ten VARCHAR(60));";

/// Registers whose changes are kept by what `adapter ddl` prints, run by the engines' own programs where they are servers.
async fn registers() -> [Register; 3] {
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
fn in_utf8(table: &str) -> String {
    replace(table, "VARCHAR(60)", "VARCHAR(60) CHARACTER SET utf8mb4")
}

fn place(register: &Register) -> Place {
    Place::without_database(&replace(CONFIGURATION, "DATABASE", &register.table()))
}

fn definition(register: &Register) -> String {
    let printed = place(register).run("ddl", &[]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    text(&printed.stdout)
}

/// A change as callers see it.
type Change = (i64, String, String, String);

#[derive(Debug, Default)]
struct Told {
    changes: Vec<Change>,
    position: Option<String>,
    messages: usize,
}

impl Told {
    fn take(&mut self, client: &Client, message: bytes::Bytes) {
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

    fn numbers(&self) -> Vec<i64> {
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

fn fields(after: Option<&str>, follow: bool) -> Vec<(&'static str, Value)> {
    let after = after.map(|after| ("after", string(after)));
    let follow = follow.then_some(("follow", Value::Bool(true)));
    after.into_iter().chain(follow).collect()
}

/// What there is now behind a position.
async fn now(client: &mut Client, after: Option<&str>) -> Result<Told, Status> {
    let request = Request::new(client.request("Changes", &fields(after, false)));
    let mut stream = client.stream("Changes", request).await?;
    let mut told = Told::default();
    while let Some(message) = stream.message().await? {
        told.take(client, message);
    }
    Ok(told)
}

fn expected(changes: &[(i64, &str, &str, &str)]) -> Vec<Change> {
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

/// A transaction of the legacy program, held open.
enum Writer {
    Postgresql(PgConnection),
    MariaDb(MySqlConnection),
}

impl Writer {
    async fn of(register: &Register) -> Self {
        match register {
            Register::Sqlite(_) => unreachable!("SQLite has one writer at a time"),
            Register::Postgresql(own) => Self::Postgresql(own.owner().await),
            Register::MariaDb(own) => Self::MariaDb(own.owner().await),
        }
    }

    async fn run(&mut self, sql: &'static str) {
        match self {
            Self::Postgresql(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
            Self::MariaDb(connection) => sqlx::raw_sql(sql).execute(connection).await.map(drop),
        }
        .unwrap();
    }

    async fn close(self) {
        match self {
            Self::Postgresql(connection) => connection.close().await,
            Self::MariaDb(connection) => connection.close().await,
        }
        .unwrap();
    }
}

/// Longer than a number may take to be seen; what is held back so long is held back by proof.
const LONGER_THAN_SETTLING: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_change_that_is_committed_late_with_a_smaller_number_is_told() {
    let [_sqlite, servers @ ..] = registers().await;
    for register in servers {
        let engine = register.engine();
        let adapter = place(&register).serve().await;
        let mut client = adapter.client().await;
        register
            .run("INSERT INTO cong_dan VALUES ('0', 'Không')")
            .await;
        let mut late = Writer::of(&register).await;
        late.run("BEGIN").await;
        late.run("INSERT INTO cong_dan VALUES ('1', 'Muộn')").await;
        register
            .run("INSERT INTO cong_dan VALUES ('2', 'Sớm')")
            .await;
        assert_eq!(register.number("SELECT max(number) FROM thay_doi").await, 3);
        // Asked again and again for as long as that would be given up if nothing were known of the transaction.
        let began = Instant::now();
        while began.elapsed() < LONGER_THAN_SETTLING {
            let told = now(&mut client, None).await.unwrap();
            assert_eq!(told.numbers(), [1], "{engine}");
        }
        // One that follows gets the first, and then waits.
        let request = Request::new(client.request("Changes", &fields(None, true)));
        let mut stream = client.stream("Changes", request).await.unwrap();
        let mut told = Told::default();
        told.take(&client, next(&mut stream).await);
        assert_eq!(told.numbers(), [1], "{engine}");
        late.run("COMMIT").await;
        while told.changes.len() < 3 {
            told.take(&client, next(&mut stream).await);
        }
        let all = [
            (1, "new", "0", "Không"),
            (2, "new", "1", "Muộn"),
            (3, "new", "2", "Sớm"),
        ];
        assert_eq!(told.changes, expected(&all), "{engine}");

        // A number that was taken and given up does not keep the others back for ever.
        late.run("BEGIN").await;
        late.run("INSERT INTO cong_dan VALUES ('3', 'Thôi')").await;
        register
            .run("INSERT INTO cong_dan VALUES ('4', 'Sau')")
            .await;
        late.run("ROLLBACK").await;
        told.take(&client, next(&mut stream).await);
        assert_eq!(told.numbers(), [1, 2, 3, 5], "{engine}");
        assert_eq!(told.position.as_deref(), Some("5"), "{engine}");
        let again = now(&mut client, Some("3")).await.unwrap();
        assert_eq!(again.numbers(), [5], "{engine}");
        late.close().await;
    }
}

async fn next(stream: &mut tonic::Streaming<bytes::Bytes>) -> bytes::Bytes {
    let message = timeout(HANGS, stream.message()).await;
    message.expect("a message").unwrap().expect("no end")
}

#[tokio::test]
async fn the_age_of_a_transaction_is_not_the_order_of_its_numbers() {
    let [_sqlite, register, _mariadb] = registers().await;
    let adapter = place(&register).serve().await;
    let mut client = adapter.client().await;
    register.run("INSERT INTO cong_dan VALUES ('0', 'A')").await;
    // The older transaction takes the later number and ends first: then none that has ended is newer than the open one.
    let (mut older, mut late) = (Writer::of(&register).await, Writer::of(&register).await);
    older.run("BEGIN").await;
    older.run("SELECT pg_current_xact_id()").await;
    late.run("BEGIN").await;
    late.run("INSERT INTO cong_dan VALUES ('1', 'B')").await;
    older.run("INSERT INTO cong_dan VALUES ('2', 'C')").await;
    older.run("COMMIT").await;
    let told = now(&mut client, None).await.unwrap();
    assert_eq!(told.numbers(), [1]);
    late.run("COMMIT").await;
    let told = now(&mut client, Some("1")).await.unwrap();
    assert_eq!(told.numbers(), [2, 3]);
    for writer in [older, late] {
        writer.close().await;
    }
}

#[tokio::test]
async fn a_number_that_is_taken_before_its_transaction_can_be_seen_is_waited_for() {
    let [_sqlite, register, _mariadb] = registers().await;
    // PostgreSQL takes the number first, then does what comes before the row, and counts the transaction with the row (or with
    // every 32nd number).
    register
        .run(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$; \
             CREATE TRIGGER slow BEFORE INSERT ON thay_doi FOR EACH ROW WHEN (NEW.so = 'slow') EXECUTE FUNCTION slow(); \
             INSERT INTO thay_doi (operation, so) VALUES ('I', 'first');",
        )
        .await;
    let adapter = place(&register).serve().await;
    let mut client = adapter.client().await;
    let mut late = Writer::of(&register).await;
    let slow = tokio::spawn(async move {
        late.run("INSERT INTO thay_doi (operation, so) VALUES ('I', 'slow')")
            .await;
        late
    });
    let taken =
        "SELECT count(*) FROM pg_sequences WHERE sequencename LIKE 'thay_doi%' AND last_value = 2";
    let is_taken = async { while register.number(taken).await == 0 {} };
    timeout(HANGS, is_taken).await.unwrap();
    register
        .run("INSERT INTO thay_doi (operation, so) VALUES ('I', 'quick')")
        .await;
    while !slow.is_finished() {
        let told = now(&mut client, None).await.unwrap();
        let second = told.changes.get(1);
        assert!(second.is_none_or(|second| second.2 == "slow"), "{told:?}");
    }
    slow.await.unwrap().close().await;
    assert_eq!(now(&mut client, None).await.unwrap().numbers(), [1, 2, 3]);
}

#[tokio::test]
async fn many_writers_at_once_and_nothing_is_missed_or_told_twice() {
    const WRITERS: usize = 8;
    const EACH: usize = 200;
    // Late, since each holds back what comes behind it for a while.
    let given_up = |id: usize| id % EACH > EACH - 20 && id.is_multiple_of(5);
    let committed: Vec<usize> = (0..WRITERS * EACH).filter(|id| !given_up(*id)).collect();
    let [_sqlite, servers @ ..] = registers().await;
    for register in servers {
        let engine = register.engine();
        let adapter = place(&register).serve().await;
        let mut client = adapter.client().await;
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            writers.push(Writer::of(&register).await);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (number, mut writer) in writers.into_iter().enumerate() {
            tasks.spawn(async move {
                for step in 0..EACH {
                    writer.run("BEGIN").await;
                    let id = number * EACH + step;
                    let sql = format!("INSERT INTO cong_dan VALUES ('{id}', 'N')");
                    writer.run(String::leak(sql)).await;
                    writer
                        .run(if given_up(id) { "ROLLBACK" } else { "COMMIT" })
                        .await;
                }
                writer.close().await;
            });
        }
        let mut told = Told::default();
        // Without a pause, so that as many looks as can be fall between the commits.
        let all = async {
            while told.changes.len() < committed.len() {
                let more = now(&mut client, told.position.as_deref()).await.unwrap();
                told.changes.extend(more.changes);
                told.position = more.position.or_else(|| told.position.take());
            }
        };
        timeout(HANGS, all).await.unwrap();
        tasks.join_all().await;
        let numbers = told.numbers();
        assert!(numbers.is_sorted_by(|one, other| one < other), "{engine}");
        let mut ids: Vec<usize> = told
            .changes
            .iter()
            .map(|change| change.2.parse().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, committed, "{engine}");
    }
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
async fn numbers_that_do_not_tell_the_order_are_refused_before_serving() {
    let columns = "operation VARCHAR(1), so VARCHAR(12)";
    let tables = |number: &str, more: &str, end: &str| {
        format!("{TABLE} CREATE TABLE thay_doi (number {number}, {columns}{more}) {end};")
    };
    let key = |column: &str| tables(&format!("{column} PRIMARY KEY"), "", "");
    let not_rising = "thay_doi.number is no INTEGER PRIMARY KEY AUTOINCREMENT";
    for made in [
        key("INTEGER"),
        key("INT"),
        tables("INTEGER PRIMARY KEY /* AUTOINCREMENT */", "", ""),
    ] {
        refused(Register::sqlite(&made).await, not_rising).await;
    }
    let identity = |options: &str| key(&format!("BIGINT GENERATED ALWAYS AS IDENTITY {options}"));
    let no_identity = "is no column of the kind GENERATED ALWAYS AS IDENTITY";
    for made in [
        key("BIGINT"),
        key("BIGSERIAL"),
        key("BIGINT GENERATED BY DEFAULT AS IDENTITY"),
        identity("(CACHE 20)"),
        identity("(INCREMENT BY 50)"),
        identity("(START WITH 0 MINVALUE 0)"),
        identity("(CYCLE)"),
        identity("").replace("CREATE TABLE thay_doi", "CREATE UNLOGGED TABLE thay_doi"),
    ] {
        refused(
            Register::Postgresql(Postgresql::new("UTF8", &made).await),
            no_identity,
        )
        .await;
    }
    let no_index = tables("BIGINT GENERATED ALWAYS AS IDENTITY", "", "");
    let no_index = Postgresql::new("UTF8", &no_index).await;
    refused(
        Register::Postgresql(no_index),
        "no unique index is on thay_doi.number",
    )
    .await;
    let copy = Postgresql::new("UTF8", &identity("")).await;
    copy.run(
        "SET allow_system_table_mods = on; \
         INSERT INTO pg_subscription_rel VALUES (0, 'thay_doi'::regclass, 'r', NULL)",
    )
    .await;
    refused(
        Register::Postgresql(copy),
        "is a copy that is filled by replication",
    )
    .await;
    let number = "BIGINT AUTO_INCREMENT PRIMARY KEY";
    for (made, said) in [
        (key("BIGINT"), "thay_doi.number is no AUTO_INCREMENT column"),
        (
            tables(number, "", "ENGINE = MyISAM"),
            "the table thay_doi is not in InnoDB",
        ),
        (
            tables(number, ", UNIQUE (so)", ""),
            "has another unique key",
        ),
        (
            tables("BIGINT AUTO_INCREMENT", ", KEY (number)", ""),
            "no unique index is on thay_doi.number",
        ),
    ] {
        refused(Register::MariaDb(MariaDb::new(&made).await), said).await;
    }
}

async fn refused(register: Register, said: &str) {
    let engine = register.engine();
    let place = place(&register);
    place.run("proto", &[]);
    for command in ["check", "serve"] {
        let ran = place.run(command, &[]);
        let all = text(&ran.stdout) + &text(&ran.stderr);
        assert!(
            all.contains(said) && !ran.status.success(),
            "{engine}, {said}: {all}"
        );
    }
}

#[tokio::test]
async fn a_column_of_32_bits_is_no_trouble() {
    let made = format!(
        "{TABLE} CREATE TABLE thay_doi (number INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY, operation TEXT, so VARCHAR(12)); \
         INSERT INTO thay_doi (operation, so) VALUES ('I', '1')"
    );
    let register = Register::Postgresql(Postgresql::new("UTF8", &made).await);
    let place = place(&register);
    let configuration = std::fs::read_to_string(place.config()).unwrap();
    let configuration = replace(&configuration, ", of = \"cong_dan\", key = \"so\"", "");
    std::fs::write(place.config(), configuration).unwrap();
    place.run("proto", &[]);
    let checked = place.run("check", &[]);
    assert!(checked.status.success(), "{}", text(&checked.stdout));
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    assert_eq!(now(&mut client, None).await.unwrap().numbers(), [1]);
    let refused = now(&mut client, Some("99999999999")).await.unwrap_err();
    assert_eq!(reason(&refused, "").0, "POSITION_UNKNOWN");
}

#[tokio::test]
async fn the_triggers_of_postgresql_lend_nobody_their_rights_and_see_what_replication_does() {
    let [_sqlite, register, _mariadb] = registers().await;
    let Register::Postgresql(own) = &register else {
        unreachable!()
    };
    // Whoever may make operators would be run with the rights of the table's owner.
    let operators = ["text", "varchar"].map(|of| {
        format!(
            "CREATE FUNCTION trap({of}, {of}) RETURNS boolean LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO trapped VALUES (1); RETURN true; END $$; \
             CREATE OPERATOR = (LEFTARG = {of}, RIGHTARG = {of}, FUNCTION = trap);"
        )
    });
    let name = &own.name;
    own.run(&format!(
        "CREATE TABLE trapped (n INTEGER); {} GRANT TEMPORARY ON DATABASE {name} TO {name};",
        operators.concat()
    ))
    .await;
    register.run("INSERT INTO cong_dan VALUES ('1', 'A')").await;
    register.run("UPDATE cong_dan SET so = '2'").await;
    assert_eq!(register.number("SELECT count(*) FROM trapped").await, 0);
    assert_eq!(register.number("SELECT count(*) FROM thay_doi").await, 3);
    // And whoever may not write the table of changes cannot have it done.
    let forged = "SET ROLE ROLE_NAME; CREATE TEMPORARY TABLE forged (so VARCHAR(12)); \
                  CREATE TRIGGER forged AFTER INSERT ON forged FOR EACH ROW EXECUTE FUNCTION public.thay_doi_keep()";
    let forged = sqlx::AssertSqlSafe(replace(forged, "ROLE_NAME", name));
    let said = sqlx::raw_sql(forged).execute(&mut own.owner().await).await;
    assert!(said.unwrap_err().to_string().contains("permission denied"));
    register
        .run("SET session_replication_role = replica; DELETE FROM cong_dan")
        .await;
    assert_eq!(register.number("SELECT count(*) FROM thay_doi").await, 4);
}

#[tokio::test]
async fn triggers_that_are_gone_are_missed_before_serving() {
    let [sqlite, postgresql, _mariadb] = registers().await;
    sqlite.run("DROP TRIGGER thay_doi_delete").await;
    refused(sqlite, "has not all of the triggers thay_doi_insert").await;
    postgresql
        .run("ALTER TABLE cong_dan DISABLE TRIGGER thay_doi_all")
        .await;
    refused(
        postgresql,
        "has not all of the triggers thay_doi_rows, thay_doi_all",
    )
    .await;
}

#[tokio::test]
async fn names_with_capitals_are_as_the_catalogue_has_them() {
    let made = "CREATE TABLE \"CONG_DAN\" (\"SO\" VARCHAR(12) PRIMARY KEY, ho_ten VARCHAR(60));";
    let database = Postgresql::new("UTF8", made).await;
    let configuration = replace(CONFIGURATION, "DATABASE", &database.table());
    let configuration = replace(
        &configuration,
        "table = \"thay_doi\", number = \"number\", of = \"cong_dan\", key = \"so\"",
        "table = \"THAY_DOI\", number = \"Number\", of = \"CONG_DAN\", key = \"SO\"",
    );
    let sql = "SELECT c.\\\"Number\\\", c.operation, c.\\\"SO\\\" AS so, 'A' AS ho_ten FROM \\\"THAY_DOI\\\" c WHERE c.\\\"Number\\\" > :after AND c.\\\"Number\\\" <= :until ORDER BY 1";
    let from = configuration.find("SELECT").unwrap();
    let until = from + configuration[from..].find("\"\n").unwrap();
    let configuration = format!("{}{sql}{}", &configuration[..from], &configuration[until..]);
    let configuration = replace(
        &configuration,
        "name = \"number\", type",
        "name = \"number\", column = \"Number\", type",
    );
    let place = Place::without_database(&configuration);
    let printed = text(&place.run("ddl", &[]).stdout);
    let name = &database.name;
    database
        .run(&format!("{printed} GRANT SELECT ON \"THAY_DOI\" TO {name}"))
        .await;
    database
        .run("INSERT INTO \"CONG_DAN\" VALUES ('1', 'A')")
        .await;
    let adapter = place.serve().await;
    let mut client = adapter.client().await;
    assert_eq!(
        now(&mut client, None).await.unwrap().changes,
        expected(&[(1, "new", "1", "A")])
    );
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
async fn keys_are_told_apart_by_their_bytes() {
    let nocase =
        "CREATE TABLE cong_dan (so VARCHAR(12) COLLATE NOCASE PRIMARY KEY, ho_ten VARCHAR(60));";
    let sqlite = Register::sqlite(nocase).await;
    let blind = "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
                 CREATE TABLE cong_dan (so VARCHAR(12) COLLATE blind PRIMARY KEY, ho_ten VARCHAR(60));";
    let postgresql = Register::Postgresql(Postgresql::new("UTF8", blind).await);
    for register in [sqlite, postgresql] {
        register.run(&definition(&register)).await;
        register.run("INSERT INTO cong_dan VALUES ('a', 'A')").await;
        register.run("UPDATE cong_dan SET so = 'A'").await;
        let gone = "SELECT count(*) FROM thay_doi WHERE operation = 'D'";
        assert_eq!(register.number(gone).await, 1, "{}", register.engine());
    }
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
async fn a_method_of_changes_must_say_all_that_it_needs() {
    let base = replace(CONFIGURATION, "DATABASE", "sqlite = \"register.db\"");
    for (from, to, said) in [
        (
            "changes = {",
            "# {",
            "a method of kind \"changes\" says where they are kept",
        ),
        (
            "kind = \"changes\"",
            "kind = \"batches\"",
            "only a method of kind \"changes\" has `changes`",
        ),
        (
            "number = \"number\"",
            "number = \"so\"",
            "no reply field of type integer has the column so",
        ),
        (", key = \"so\"", "", "give both or none"),
        (
            "table = \"thay_doi\"",
            "table = \"thay_doi; --\"",
            "is no plain name",
        ),
        ("AND c.number <= :until", "", ":until"),
        (
            "ORDER BY c.number",
            "ORDER BY c.number LIMIT 100",
            "the SQL text has LIMIT",
        ),
        (
            "table = \"thay_doi\"",
            "table = \"main.thay_doi\"",
            "is named without a schema",
        ),
        (
            "key = \"so\"",
            "key = [\"so\", \"operation\"]",
            "has a column operation of its own",
        ),
        (
            "reply = [",
            "when_none = \"not-found\"\nreply = [",
            "remove when_none",
        ),
        (
            "reply = [",
            "request = [{ name = \"follow\", type = \"boolean\" }]\nreply = [",
            "the adapter itself has follow",
        ),
        (
            "sqlite = \"register.db\"",
            "csv = { folder = \"exports\" }",
            "CSV files are only read, and keep no changes",
        ),
    ] {
        let place = Place::without_database(&replace(&base, from, to));
        let checked = place.run("check", &[]);
        let stderr = text(&checked.stderr);
        assert!(
            stderr.contains(said) && !checked.status.success(),
            "{said}: {stderr}"
        );
    }
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
