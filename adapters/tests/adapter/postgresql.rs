//! What is PostgreSQL's own: its types, its inference, and bytes as they are stored.

use std::time::Duration;

use adapters::{
    configuration::{DatabaseSettings, ServerSettings, Source},
    database::{Database, DatabaseError},
    engine::Engine,
    field_type::Cell,
    statement::Statement,
};

use crate::{
    harness::{Place, text},
    servers::{Postgresql, all_rows},
};

async fn open(database: &Postgresql) -> Database {
    let settings = DatabaseSettings {
        source: Source::Postgresql(ServerSettings {
            address: database.address(),
            database: database.name.clone(),
            user: database.name.clone(),
            password: None,
        }),
        connections: 1,
        lock_timeout: Duration::from_millis(50),
    };
    Database::open(&settings).await.unwrap()
}

async fn rows(
    database: &Database,
    sql: &str,
    value: Option<Cell>,
) -> Result<Vec<Vec<Cell>>, DatabaseError> {
    all_rows(database, Engine::Postgresql, sql, value).await
}

fn text_cell(text: &str) -> Cell {
    Cell::Text(text.to_owned().into())
}

#[tokio::test]
async fn every_byte_comes_as_it_is_stored() {
    for encoding in ["SQL_ASCII", "LATIN1", "WIN1258"] {
        let sql = "CREATE TABLE bytes (code INTEGER, stored TEXT);
            INSERT INTO bytes SELECT code, convert_from(decode(lpad(to_hex(code), 2, '0'), 'hex'), current_setting('server_encoding'))
            FROM generate_series(1, 255) AS code WHERE current_setting('server_encoding') <> 'WIN1258' OR code < 128";
        let database = Postgresql::new(encoding, sql).await;
        let open = open(&database).await;
        let found = rows(&open, "SELECT code, stored FROM bytes ORDER BY code", None);
        let found = found.await.unwrap();
        for row in &found {
            let Cell::Integer(code) = row[0] else {
                panic!("{row:?}")
            };
            let byte = u8::try_from(code).unwrap();
            assert_eq!(row[1], Cell::Text(vec![byte].into()), "{encoding}");
        }
        assert_eq!(found.len(), if encoding == "WIN1258" { 127 } else { 255 });
    }
}

#[tokio::test]
async fn types_come_as_what_they_are_and_are_compared_as_such() {
    let database = Postgresql::new(
        "UTF8",
        "CREATE TYPE sex AS ENUM ('nam', 'nữ');
         CREATE DOMAIN person_number AS CHAR(12);
         CREATE TABLE t (a SMALLINT, b INTEGER, c BIGINT, d NUMERIC(20,2), e NUMERIC(12), f REAL, g DOUBLE PRECISION,
            h BOOLEAN, i TEXT, j CHAR(5), k BYTEA, l DATE, m TIMESTAMP, n TIMESTAMPTZ, o TIME, p UUID, q JSONB, r sex,
            s person_number, u JSON);
         INSERT INTO t VALUES (-32768, 2147483647, -9223372036854775808, -12345678901234567.50, 001185123456, 0.5, 1e300,
            true, 'Ánh', 'ab', '\\x00ff', '1953-02-28', '2026-11-26 21:30:00.5', '2026-11-26 21:30:00+07', '23:59:59',
            '0123abcd-4567-89ab-cdef-0123456789ab', '{\"a\": 1}', 'nữ', '001185123456', '[1]');
         INSERT INTO t (a) VALUES (NULL)",
    )
    .await;
    let open = open(&database).await;
    let found = rows(&open, "SELECT * FROM t ORDER BY a", None)
        .await
        .unwrap();
    let expected = [
        Cell::Integer(-32_768),
        Cell::Integer(2_147_483_647),
        Cell::Integer(i64::MIN),
        Cell::Decimal("-12345678901234567.50".into()),
        Cell::Decimal("1185123456".into()),
        Cell::Real(0.5),
        Cell::Real(1e300),
        Cell::Integer(1),
        text_cell("Ánh"),
        text_cell("ab   "),
        Cell::Blob(vec![0, 255].into()),
        text_cell("1953-02-28"),
        text_cell("2026-11-26T21:30:00.5"),
        text_cell("2026-11-26T14:30:00Z"),
        text_cell("23:59:59"),
        text_cell("0123abcd-4567-89ab-cdef-0123456789ab"),
        text_cell("{\"a\": 1}"),
        text_cell("nữ"),
        text_cell("001185123456"),
        text_cell("[1]"),
    ];
    assert_eq!(found[0], expected);
    assert_eq!(found[1], vec![Cell::Null; 20]);
    // Each value finds its own row, in the type that the server infers.
    for (column, value) in ('a'..='s').zip(expected) {
        let value = match value {
            Cell::Decimal(digits) if digits.contains(&b'.') => continue,
            Cell::Decimal(digits) => {
                Cell::Integer(str::from_utf8(&digits).unwrap().parse().unwrap())
            }
            // Moments, times and documents are compared by what the SQL text makes of them.
            Cell::Text(_) if ['m', 'n', 'o', 'q'].contains(&column) => continue,
            value => value,
        };
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
async fn a_value_beyond_its_column_is_a_mistake_of_the_caller() {
    let database = Postgresql::new("UTF8", "CREATE TABLE t (a SMALLINT)").await;
    let open = open(&database).await;
    let error = rows(
        &open,
        "SELECT a FROM t WHERE a = :v",
        Some(Cell::Integer(40_000)),
    );
    let error = error.await.unwrap_err();
    assert!(
        matches!(
            error,
            DatabaseError::Parameter {
                value: 0,
                expected: "a whole number of 16 bits"
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn nothing_is_written_by_any_statement() {
    let database = Postgresql::new(
        "UTF8",
        "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1)",
    )
    .await;
    // Even by an account that may: the transaction itself is for reading.
    database
        .run(&format!("GRANT ALL ON t TO {}", database.name))
        .await;
    let open = open(&database).await;
    for sql in [
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone",
        "SELECT a FROM t FOR UPDATE",
    ] {
        let statement = Statement::parse(sql, &[], Engine::Postgresql).unwrap();
        assert!(open.prepare(&statement).await.unwrap().writes, "{sql}");
        let error = rows(&open, sql, None).await.unwrap_err();
        assert!(
            matches!(&error, DatabaseError::Statement { code, .. } if code == "25006"),
            "{error:?}"
        );
    }
    assert_eq!(
        rows(&open, "SELECT a FROM t", None).await.unwrap(),
        [[Cell::Integer(1)]]
    );
}

#[tokio::test]
async fn a_lock_of_another_program_is_told_apart() {
    let database = Postgresql::new("UTF8", "CREATE TABLE t (a INTEGER)").await;
    let open = open(&database).await;
    let mut legacy = database.owner().await;
    sqlx::raw_sql("BEGIN; LOCK TABLE t")
        .execute(&mut legacy)
        .await
        .unwrap();
    let error = rows(&open, "SELECT a FROM t", None).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Locked), "{error:?}");
    sqlx::raw_sql("COMMIT").execute(&mut legacy).await.unwrap();
    assert_eq!(
        rows(&open, "SELECT a FROM t", None).await.unwrap(),
        Vec::<Vec<Cell>>::new()
    );
}

#[tokio::test]
async fn types_that_do_not_fit_are_said_before_anyone_calls() {
    let database = Postgresql::new("UTF8", "CREATE TABLE t (a INTEGER, b INTERVAL, c DATE)").await;
    for (condition, field, column, expected) in [
        (
            "a = :v",
            "text",
            "a",
            "compares :v with a value of type int4, which a field of type text cannot be",
        ),
        (
            "c = :v",
            "integer",
            "a",
            "compares :v with a value of type date, which a field of type integer",
        ),
        (
            "a = :v",
            "integer",
            "b",
            "the column b is of type interval, which is not read; write CAST(b AS text) AS b",
        ),
        (
            "b = :v",
            "text",
            "a",
            "compares :v with a value of type interval",
        ),
    ] {
        let configuration = format!(
            "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n{}\n\
             [[methods]]\nname = \"Find\"\nkind = \"unary\"\nsql = \"SELECT {column} FROM t WHERE {condition}\"\n\
             request = [{{ name = \"v\", type = \"{field}\" }}]\nreply = [{{ name = \"{column}\", type = \"text\" }}]\n",
            database.table()
        );
        let place = Place::without_database(&configuration);
        assert!(place.run("proto", &[]).status.success());
        let said = text(&place.run("check", &[]).stdout);
        assert!(
            said.contains("WRONG method Find") && said.contains(expected),
            "{said}"
        );
    }
}
