//! What is MariaDB's own: its types, its zero dates, and bytes as they are stored.

use std::{sync::Arc, time::Duration};

use adapters::{
    configuration::{DatabaseSettings, ServerSettings, Source},
    database::{Database, DatabaseError},
    engine::Engine,
    field_type::Cell,
    statement::Statement,
};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    harness::{HANGS, Place, text},
    servers::{MariaDb, all_rows},
};

async fn open(database: &MariaDb) -> Database {
    let settings = DatabaseSettings {
        source: Source::MariaDb(ServerSettings {
            address: database.address(),
            database: database.name.clone(),
            user: database.name.clone(),
            password: None,
        }),
        connections: 1,
        lock_timeout: Duration::from_secs(1),
    };
    Database::open(&settings).await.unwrap()
}

async fn rows(
    database: &Database,
    sql: &str,
    value: Option<Cell>,
) -> Result<Vec<Vec<Cell>>, DatabaseError> {
    all_rows(database, Engine::MariaDb, sql, value).await
}

fn text_cell(text: &str) -> Cell {
    Cell::Text(text.to_owned().into())
}

#[tokio::test]
async fn every_byte_comes_as_it_is_stored() {
    let bytes = |mark: &str| {
        let rows = (1..=255).map(|code| format!("({code}, {mark} x'{code:02x}')"));
        rows.collect::<Vec<_>>().join(", ")
    };
    for (of_type, mark) in [
        ("VARCHAR(9) CHARACTER SET latin1", "_latin1"),
        ("TEXT CHARACTER SET latin1 COLLATE latin1_bin", "_latin1"),
        ("VARBINARY(9)", ""),
    ] {
        let sql = format!(
            "CREATE TABLE bytes (code INTEGER, stored {of_type}); INSERT INTO bytes VALUES {}",
            bytes(mark)
        );
        let database = MariaDb::new(&sql).await;
        let open = open(&database).await;
        let found = rows(&open, "SELECT code, stored FROM bytes ORDER BY code", None);
        let found = found.await.unwrap();
        for (row, code) in found.iter().zip(1..=255_u8) {
            let stored = vec![code].into();
            let expected = if mark.is_empty() {
                Cell::Blob(stored)
            } else {
                Cell::Text(stored)
            };
            assert_eq!(row[1], expected, "{of_type}");
        }
        assert_eq!(found.len(), 255);
    }
}

#[tokio::test]
async fn types_come_as_what_they_are_and_are_compared_as_such() {
    let database = MariaDb::new(
        "SET sql_mode = '';
         CREATE TABLE t (a TINYINT, b SMALLINT UNSIGNED, c INTEGER, d BIGINT UNSIGNED, e DECIMAL(20,2), f FLOAT, g DOUBLE,
            h BOOLEAN, i TEXT CHARACTER SET utf8mb4, j CHAR(5), k BLOB, l DATE, m DATETIME(1), n TIME, o YEAR, p BIT(1),
            q ENUM('nam', 'nu'), r DATE, s DATE, u JSON);
         INSERT INTO t VALUES (-128, 65535, -2147483648, 18446744073709551615, -12345678901234567.50, 0.5, 1e300,
            true, _utf8mb4 x'c3816e68', 'ab', x'00ff', '1953-02-28', '2026-11-26 21:30:00.5', '-100:59:59', 1985, b'1',
            'nu', '0000-00-00', '1953-00-00', '[1]');
         INSERT INTO t (a) VALUES (NULL)",
    )
    .await;
    let open = open(&database).await;
    let found = rows(&open, "SELECT * FROM t ORDER BY a DESC", None)
        .await
        .unwrap();
    let expected = [
        Cell::Integer(-128),
        Cell::Integer(65_535),
        Cell::Integer(-2_147_483_648),
        Cell::Decimal("18446744073709551615".into()),
        Cell::Decimal("-12345678901234567.50".into()),
        Cell::Real(0.5),
        Cell::Real(1e300),
        Cell::Integer(1),
        text_cell("Ánh"),
        text_cell("ab"),
        Cell::Blob(vec![0, 255].into()),
        text_cell("1953-02-28"),
        text_cell("2026-11-26T21:30:00.500000"),
        text_cell("-100:59:59"),
        Cell::Integer(1985),
        Cell::Integer(1),
        text_cell("nu"),
        // The day that is none.
        Cell::Null,
        text_cell("1953-00-00"),
        text_cell("[1]"),
    ];
    assert_eq!(found[0], expected);
    assert_eq!(found[1], vec![Cell::Null; 20]);
    for (column, value) in ('a'..='s').zip(expected) {
        // A long number is compared as text by what the SQL text makes of it.
        if matches!(value, Cell::Decimal(_) | Cell::Null) {
            continue;
        }
        let sql = format!("SELECT 1 FROM t WHERE :v IS NOT NULL AND {column} = :v");
        let found = rows(&open, &sql, Some(value)).await.unwrap();
        assert_eq!(found, [[Cell::Integer(1)]], "{column}");
        assert_eq!(
            rows(&open, &sql, Some(Cell::Null)).await.unwrap(),
            Vec::<Vec<Cell>>::new()
        );
    }
}

#[tokio::test]
async fn nothing_is_written_by_any_statement() {
    let database = MariaDb::new("CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)").await;
    // Even by an account that may: the transaction itself is for reading.
    let name = &database.name;
    database
        .run(&format!(
            "GRANT ALL ON {name}.* TO {name}; SET GLOBAL log_bin_trust_function_creators = 1;
             CREATE FUNCTION write_one() RETURNS INTEGER BEGIN INSERT INTO t VALUES (2); RETURN 1; END"
        ))
        .await;
    let open = open(&database).await;
    for sql in ["SELECT write_one() AS a", "SELECT a FROM t FOR UPDATE"] {
        match rows(&open, sql, None).await {
            Err(DatabaseError::Statement { code, .. }) => assert_eq!(code, "1792", "{sql}"),
            // A lock ends with the statement, which is a transaction of its own.
            Ok(found) => assert_eq!(found, [[Cell::Integer(1)]], "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert_eq!(
        rows(&open, "SELECT a FROM t", None).await.unwrap(),
        [[Cell::Integer(1)]]
    );
}

#[tokio::test]
async fn a_lock_of_another_program_is_told_apart() {
    let database = MariaDb::new("CREATE TABLE t (a INTEGER)").await;
    let open = open(&database).await;
    let mut legacy = database.owner().await;
    sqlx::raw_sql("LOCK TABLES t WRITE")
        .execute(&mut legacy)
        .await
        .unwrap();
    let admission = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let statement = Statement::parse("SELECT a FROM t", &[], Engine::MariaDb).unwrap();
    sqlx::raw_sql("UNLOCK TABLES")
        .execute(&mut legacy)
        .await
        .unwrap();
    let prepared = Arc::new(open.prepare(&statement).await.unwrap());
    sqlx::raw_sql("LOCK TABLES t WRITE")
        .execute(&mut legacy)
        .await
        .unwrap();
    let mut found = open.query(&prepared, Vec::new(), Instant::now() + HANGS, admission);
    let error = found.next().await.unwrap_err();
    assert!(matches!(error, DatabaseError::Locked), "{error:?}");
    sqlx::raw_sql("UNLOCK TABLES")
        .execute(&mut legacy)
        .await
        .unwrap();
    assert_eq!(
        rows(&open, "SELECT a FROM t", None).await.unwrap(),
        Vec::<Vec<Cell>>::new()
    );
}

#[tokio::test]
async fn a_text_that_a_collation_could_confuse_is_looked_for_in_a_column_that_is_known() {
    let database = MariaDb::new(
        "CREATE TABLE t (a VARCHAR(9) CHARACTER SET latin1); CREATE TABLE u (a VARCHAR(9) CHARACTER SET utf8mb4, b INTEGER)",
    )
    .await;
    for (sql, expected) in [
        (
            "SELECT a FROM t WHERE a = :v",
            "MariaDB may take different letters for the same",
        ),
        ("SELECT a FROM t WHERE UPPER(a) IN (:v)", "is no column"),
        ("SELECT a FROM t WHERE c IN (:v)", "Unknown column 'c'"),
        (
            "SELECT t.a FROM t JOIN u ON t.a = u.a WHERE t.a IN (:v)",
            "in different character sets",
        ),
    ] {
        let configuration = format!(
            "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n{}\n\
             [[methods]]\nname = \"Find\"\nkind = \"unary\"\nsql = \"{sql}\"\n\
             request = [{{ name = \"v\", type = \"text\" }}]\nreply = [{{ name = \"a\", type = \"text\" }}]\n",
            database.table()
        );
        let place = Place::without_database(&configuration);
        let published = place.run("proto", &[]);
        let said = text(&published.stderr) + &text(&place.run("check", &[]).stdout);
        assert!(said.contains(expected), "{said}");
    }
}
