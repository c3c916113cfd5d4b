//! Records that could be taken for others: each way in which a database would is refused, or asked for otherwise.

use prost_reflect::Value;
use tonic::Code;

use crate::{
    harness::{Place, RunningAdapter, reason, string, text},
    servers::{MariaDb, Postgresql},
};

const TEXT: &str = "name = \"v\", type = \"text\"";
const INTEGER: &str = "name = \"v\", type = \"integer\"";

fn configuration(table: &str, sql: &str, request: &str) -> String {
    format!(
        "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n{table}\n\
         [[methods]]\nname = \"Find\"\nkind = \"unary\"\nsql = '''{sql}'''\nrequest = [{{ {request} }}]\n\
         reply = [{{ name = \"a\", type = \"text\" }}]\n"
    )
}

/// What `proto` and `check` say of a configuration that cannot be served.
fn refused(configuration: &str) -> String {
    let place = Place::without_database(configuration);
    text(&place.run("proto", &[]).stderr) + &text(&place.run("check", &[]).stdout)
}

async fn serve(configuration: &str) -> RunningAdapter {
    Place::without_database(configuration).serve().await
}

#[tokio::test]
async fn postgresql_with_a_collation_that_confuses_letters_is_refused() {
    let database = Postgresql::new(
        "UTF8",
        "CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
         CREATE TABLE t (ten TEXT COLLATE same, b TEXT); INSERT INTO t VALUES ('To', 'x'), ('Tó', 'y');",
    )
    .await;
    let with = |sql: &str| configuration(&database.table(), sql, TEXT);
    let said = refused(&with("SELECT ten AS a FROM t WHERE ten IN (:v)"));
    assert!(
        said.contains("the column t.ten takes different letters for the same"),
        "{said}"
    );
    let exact = with("SELECT ten AS a FROM t WHERE ten COLLATE \"C\" IN (:v)");
    let adapter = serve(&exact).await;
    let found = adapter
        .client()
        .await
        .ask("Find", &[("v", string("Tó"))])
        .await
        .unwrap();
    assert_eq!(found, [("a".to_owned(), string("Tó"))]);
    // Another column of the table is nobody's concern.
    serve(&with("SELECT b AS a FROM t WHERE b IN (:v)")).await;
}

#[tokio::test]
async fn a_form_that_a_column_cannot_hold_hides_nothing() {
    let sql = "CREATE TABLE t (a TEXT, so INTEGER); INSERT INTO t VALUES ('x', 7)";
    let database = Postgresql::new("UTF8", sql).await;
    let field = "name = \"v\", type = \"text\", digits = 12";
    for (sql, number, found) in [
        (
            "SELECT a FROM t WHERE so IN (:v)",
            "000000000007",
            Some("x"),
        ),
        (
            "SELECT a FROM t WHERE NOT (so IN (:v))",
            "000000000008",
            Some("x"),
        ),
        // No form of it fits the column: a mistake, and not "nothing found" or, worse, everything.
        (
            "SELECT a FROM t WHERE NOT (so IN (:v))",
            "079123456789",
            None,
        ),
    ] {
        let adapter = serve(&configuration(&database.table(), sql, field)).await;
        let answer = adapter
            .client()
            .await
            .ask("Find", &[("v", string(number))])
            .await;
        match found {
            Some(found) => assert_eq!(answer.unwrap(), [("a".to_owned(), string(found))], "{sql}"),
            None => {
                let expected = ("FIELD_INVALID".to_owned(), Some("v".to_owned()));
                assert_eq!(reason(&answer.unwrap_err(), "field"), expected, "{sql}");
            }
        }
    }
}

#[tokio::test]
async fn mariadb_does_not_compare_texts_as_numbers() {
    let database = MariaDb::new(
        "CREATE TABLE t (a VARCHAR(9), flag CHAR(1), n BIGINT);
         INSERT INTO t VALUES ('12abc', 'Y', 9007199254740993), ('0012', 'N', 1), ('12', '0', 2)",
    )
    .await;
    let boolean = "name = \"v\", type = \"boolean\"";
    for (condition, field, value, expected) in [
        ("a = :v", INTEGER, Value::I64(12), "12"),
        ("flag = :v", boolean, Value::Bool(false), "12"),
        (
            "n = :v",
            INTEGER,
            Value::I64(9_007_199_254_740_993),
            "12abc",
        ),
        ("n > :v", INTEGER, Value::I64(2), "12abc"),
        ("n > 0 ORDER BY n LIMIT :v", INTEGER, Value::I64(1), "0012"),
    ] {
        let sql = format!("SELECT a FROM t WHERE {condition}");
        let adapter = serve(&configuration(&database.table(), &sql, field)).await;
        let found = adapter
            .client()
            .await
            .ask("Find", &[("v", value)])
            .await
            .unwrap();
        assert_eq!(found, [("a".to_owned(), string(expected))], "{condition}");
    }
}

#[tokio::test]
async fn mariadb_columns_whose_character_set_is_not_certain_are_refused() {
    let sql = "CREATE TABLE t (a VARCHAR(9) CHARACTER SET latin1, w VARCHAR(9) CHARACTER SET ucs2)";
    let database = MariaDb::new(sql).await;
    for (sql, expected) in [
        (
            "WITH x AS (SELECT CONVERT(a USING utf8mb4) AS a FROM t) SELECT a FROM x WHERE a IN (:v)",
            "gives the name a to something else",
        ),
        (
            "SELECT w AS a FROM t WHERE w IN (:v)",
            "the column w is in ucs2",
        ),
    ] {
        let said = refused(&configuration(&database.table(), sql, TEXT));
        assert!(said.contains(expected), "{sql}: {said}");
    }
}

#[tokio::test]
async fn what_a_database_says_beside_its_answer_is_not_logged() {
    let database = Postgresql::new(
        "UTF8",
        "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x');
         CREATE FUNCTION talk(v TEXT) RETURNS TEXT LANGUAGE plpgsql
            AS 'BEGIN RAISE WARNING ''secret %'', v; RETURN v; END'",
    )
    .await;
    let sql = "SELECT a FROM t WHERE talk(a) IN (:v)";
    let mut adapter = serve(&configuration(&database.table(), sql, TEXT)).await;
    adapter
        .client()
        .await
        .ask("Find", &[("v", string("x"))])
        .await
        .unwrap();
    let line = adapter.log_line(&[""]).await;
    assert!(
        line.contains("answered") && !line.contains("secret"),
        "{line}"
    );
}

#[tokio::test]
async fn a_natural_key_that_is_none_is_refused() {
    let write = |table: &str, step: &str| {
        format!(
            "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             [database]\nsqlite = \"register.db\"\n[[methods]]\nname = \"Write\"\nkind = \"unary\"\n\
             natural_key = {{ table = \"{table}\", columns = [\"so\"] }}\n\
             steps = [{{ name = \"step\", sql = \"{step}\" }}]\nsql = \"SELECT so FROM {table} WHERE so = :so\"\n\
             request = [{{ name = \"so\", type = \"integer\" }}]\nreply = [{{ name = \"so\", type = \"integer\" }}]\n"
        )
    };
    let sql = "CREATE TABLE pair (so INTEGER, kind TEXT, PRIMARY KEY (so, kind));
               CREATE TABLE maybe (so INT UNIQUE); CREATE TABLE sure (so INT NOT NULL UNIQUE, x INT);";
    let insert = |table: &str| format!("INSERT INTO {table} (so) VALUES (:so)");
    for (table, step, expected) in [
        (
            "pair",
            insert("pair"),
            "the table pair has no unique index on so",
        ),
        // Two rows may have NULL in it.
        (
            "maybe",
            insert("maybe"),
            "the table maybe has no unique index on so",
        ),
        (
            "sure",
            "UPDATE sure SET x = 1 WHERE so = :so".to_owned(),
            "natural_key is for steps that INSERT only",
        ),
        ("sure", insert("sure"), "ready to serve"),
    ] {
        let place = Place::over(&write(table, &step), sql).await;
        let said = text(&place.run("proto", &[]).stderr) + &text(&place.run("check", &[]).stdout);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn a_value_that_its_column_cannot_hold_is_not_stored_as_nothing() {
    let database = Postgresql::new(
        "UTF8",
        "CREATE TABLE person (so TEXT PRIMARY KEY); INSERT INTO person VALUES ('079123456789');
         CREATE TABLE looked_up (so INTEGER);",
    )
    .await;
    let table = database.table();
    let configuration = format!(
        "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n{table}\n\
         [[methods]]\nname = \"Find\"\nkind = \"unary\"\nidempotency_key = \"key\"\n\
         steps = [{{ name = \"note\", sql = \"INSERT INTO looked_up VALUES (:so)\" }}]\n\
         sql = \"SELECT so FROM person WHERE so IN (:so) AND :key IS NOT NULL\"\n\
         request = [{{ name = \"key\", type = \"text\" }}, {{ name = \"so\", type = \"text\", digits = 12 }}]\n\
         reply = [{{ name = \"so\", type = \"text\" }}]\n"
    );
    let ddl = Place::without_database(&configuration).run("ddl", &[]);
    database.run(&text(&ddl.stdout)).await;
    let name = &database.name;
    database
        .run(&format!(
            "GRANT ALL ON looked_up, lienthong_written TO {name}; GRANT SELECT ON person TO {name}"
        ))
        .await;
    let adapter = serve(&configuration).await;
    let fields = [("key", string("1")), ("so", string("079123456789"))];
    let error = adapter
        .client()
        .await
        .ask("Find", &fields)
        .await
        .unwrap_err();
    assert_eq!(
        reason(&error, "field"),
        ("FIELD_INVALID".into(), Some("so".into()))
    );
    assert_eq!(error.code(), Code::InvalidArgument);
}
