//! The database is read and never written; every way it can fail has its own error.

use std::path::Path;

use tokio::{sync::Semaphore, time::Instant};

use super::{super::*, *};

struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn new(setup: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Self { folder };
        fixture.write(setup).await;
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("register.db")
    }

    async fn connection(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .create_if_missing(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    async fn write(&self, sql: &'static str) {
        let mut connection = self.connection().await;
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn open(&self) -> Result<Database, DatabaseError> {
        Database::open(&settings(&self.path())).await
    }
}

fn settings(path: &Path) -> DatabaseSettings {
    DatabaseSettings {
        source: Source::Sqlite {
            path: path.to_owned(),
            memory_bytes: 256 * 1024 * 1024,
        },
        connections: 1,
        lock_timeout: Duration::from_millis(20),
    }
}

/// Also of what no configuration can hold.
fn prepared(text: &str) -> Arc<Prepared> {
    Arc::new(Prepared {
        text: text.into(),
        binds: Vec::new(),
        types: Vec::new(),
        columns: Vec::new(),
        parameters: 0,
        writes: false,
        faults: Vec::new(),
    })
}

fn query(database: &Database, text: &str, timeout: Duration) -> Rows {
    let admission = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let deadline = Instant::now() + timeout;
    database.query(&prepared(text), Vec::new(), deadline, admission)
}

fn statement(text: &str) -> Statement {
    Statement::parse(text, &[], Engine::Sqlite).unwrap()
}

const LONG: Duration = Duration::from_secs(60);
const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
const ENDLESS_WITHOUT_ROWS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0";

#[tokio::test]
async fn writing_is_refused_by_sqlite_itself_even_when_the_text_turns_query_only_off() {
    let fixture = Fixture::new("CREATE TABLE t(a); INSERT INTO t VALUES (1)").await;
    let before = fs::read(fixture.path()).unwrap();
    let database = fixture.open().await.unwrap();
    // The statements that a configuration can never hold: the last defence is tried alone.
    for text in ["PRAGMA query_only = OFF", "PRAGMA query_only"] {
        let mut rows = query(&database, text, LONG);
        while rows.next().await.unwrap().is_some() {}
    }
    for text in [
        "DELETE FROM t",
        "CREATE TABLE u(a)",
        "PRAGMA user_version = 7",
        "VACUUM",
    ] {
        let error = query(&database, text, LONG).next().await.unwrap_err();
        assert!(
            matches!(error, DatabaseError::Statement { ref code, .. } if code.parse::<i32>().unwrap() & 0xff == 8),
            "{text}: {error:?}"
        );
    }
    assert_eq!(fs::read(fixture.path()).unwrap(), before);
}

#[tokio::test]
async fn query_only_is_set_on_every_connection() {
    let fixture = Fixture::new("CREATE TABLE t(a)").await;
    let database = fixture.open().await.unwrap();
    let row = query(&database, "PRAGMA query_only", LONG)
        .next()
        .await
        .unwrap();
    assert_eq!(row, Some(vec![Cell::Integer(1)]));
}

#[tokio::test]
async fn a_statement_that_would_write_is_known_without_running_it() {
    let fixture = Fixture::new("CREATE TABLE t(a); INSERT INTO t VALUES (1)").await;
    let database = fixture.open().await.unwrap();
    let writing = statement("WITH x AS (SELECT 1) DELETE FROM t RETURNING a");
    let described = database.prepare(&writing).await.unwrap();
    assert_eq!(
        (described.writes, described.columns),
        (true, vec!["a".to_owned()])
    );
    let reading = database
        .prepare(&statement("SELECT a, 2 AS b FROM t"))
        .await
        .unwrap();
    assert_eq!(
        (reading.writes, reading.columns),
        (false, vec!["a".to_owned(), "b".to_owned()])
    );
}

#[tokio::test]
async fn values_keep_their_storage_class() {
    let fixture = Fixture::new("CREATE TABLE t(a)").await;
    let database = fixture.open().await.unwrap();
    let text = "SELECT NULL, -9223372036854775808, 0.5, 'Ánh', '', x'00ff', CAST(x'c4' AS TEXT)";
    let mut rows = query(&database, text, LONG);
    let expected = vec![
        Cell::Null,
        Cell::Integer(i64::MIN),
        Cell::Real(0.5),
        Cell::Text("Ánh".into()),
        Cell::Text(Bytes::new()),
        Cell::Blob(vec![0, 255].into()),
        Cell::Text(vec![0xc4].into()),
    ];
    assert_eq!(rows.next().await.unwrap(), Some(expected));
    assert_eq!(rows.next().await.unwrap(), None);
    assert_eq!(rows.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_statement_stops_at_its_deadline_with_and_without_rows() {
    let fixture = Fixture::new("CREATE TABLE t(a)").await;
    let database = fixture.open().await.unwrap();
    for text in [ENDLESS, ENDLESS_WITHOUT_ROWS] {
        let mut rows = query(&database, text, Duration::from_millis(50));
        let error = loop {
            match rows.next().await {
                Ok(row) => assert!(row.is_some()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DatabaseError::Deadline), "{error:?}");
    }
    // The one connection is free again.
    database.probe().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_its_statement() {
    let fixture = Fixture::new("CREATE TABLE t(a)").await;
    let database = fixture.open().await.unwrap();
    for text in [ENDLESS, ENDLESS_WITHOUT_ROWS, ENDLESS] {
        let mut rows = query(&database, text, LONG);
        if text == ENDLESS {
            assert_eq!(rows.next().await.unwrap(), Some(vec![Cell::Integer(1)]));
        }
        drop(rows);
        database.probe().await.unwrap();
    }
}

#[tokio::test]
async fn a_missing_file_is_unavailable_and_found_again_when_it_returns() {
    let fixture = Fixture::new("CREATE TABLE t(a); INSERT INTO t VALUES ('old')").await;
    let database = fixture.open().await.unwrap();
    let away = fixture.folder.path().join("away.db");
    fs::rename(fixture.path(), &away).unwrap();
    let error = database.probe().await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. }),
        "{error:?}"
    );
    // Another file at the path is another database: no connection still reads the earlier one.
    fixture
        .write("CREATE TABLE t(a); INSERT INTO t VALUES ('new')")
        .await;
    let row = query(&database, "SELECT a FROM t", LONG)
        .next()
        .await
        .unwrap();
    assert_eq!(row, Some(vec![Cell::Text("new".into())]));
    let error = Database::open(&settings(Path::new("/nowhere/x.db")))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DatabaseError::Unavailable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lock_of_another_program_is_told_apart() {
    let fixture = Fixture::new("CREATE TABLE t(a)").await;
    let database = fixture.open().await.unwrap();
    let mut writer = fixture.connection().await;
    sqlx::raw_sql("BEGIN EXCLUSIVE")
        .execute(&mut writer)
        .await
        .unwrap();
    let error = query(&database, "SELECT a FROM t", LONG)
        .next()
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Locked), "{error:?}");
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    assert_eq!(
        query(&database, "SELECT a FROM t", LONG)
            .next()
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn files_that_are_no_readable_database_are_refused_by_name() {
    let fixture = Fixture::new("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(a)").await;
    let error = fixture.open().await.unwrap_err();
    assert!(matches!(&error, DatabaseError::Unsupported { what, .. } if what.contains("UTF-16le")));
    fs::write(fixture.path(), [b'x'; 4096]).unwrap();
    let error = fixture.open().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Damaged { .. }), "{error:?}");
}
