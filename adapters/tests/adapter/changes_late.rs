//! Changes that are committed in another order than they are numbered: none is missed, on either server.

use std::time::Duration;

use sqlx::{Connection, MySqlConnection, PgConnection};
use tokio::time::{Instant, timeout};
use tonic::Request;

use crate::{
    changes::{Told, expected, fields, next, now, place, registers},
    harness::HANGS,
    servers::Register,
};

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
