//! Methods that write, before anyone calls: what could write twice or by half is refused; procedures.

use prost_reflect::Value;

use crate::{
    harness::{Place, RunningAdapter, reason, replace, string, text},
    servers::{MariaDb, Postgresql, Register},
    writes::{CONFIGURATION, TABLES, Written, key_table, registers},
};

#[tokio::test]
async fn a_method_that_could_write_twice_is_refused_before_anyone_calls() {
    for Written { database, place } in registers().await {
        let engine = database.engine();
        assert!(place.run("proto", &[]).status.success());
        assert!(place.run("check", &[]).status.success());
        match &database {
            Register::Sqlite(_) | Register::Postgresql(_) => {
                database
                    .run("ALTER TABLE lienthong_written RENAME TO away")
                    .await;
            }
            Register::MariaDb(_) => database.run("RENAME TABLE lienthong_written TO away").await,
        }
        let said = text(&place.run("check", &[]).stdout);
        assert!(
            said.contains("WRONG method Declare: calls that are repeated are known by a table"),
            "{engine}: {said}"
        );
        assert!(
            said.contains("CREATE TABLE lienthong_written"),
            "{engine}: {said}"
        );
        let whole = std::fs::read_to_string(place.config()).unwrap();
        let natural = replace(&whole, "columns = [\"xa\"]", "columns = [\"so_cuoi\"]");
        std::fs::write(place.config(), natural).unwrap();
        let said = text(&place.run("check", &[]).stdout);
        let expected = "natural_key: the table so_dem has no unique index on so_cuoi";
        assert!(said.contains(expected), "{engine}: {said}");
    }
    let configuration = CONFIGURATION.replace("DATABASE", "sqlite = \"register.db\"");
    for (from, to, expected) in [
        (
            "idempotency_key = \"declaration\"\n",
            "",
            "give either `idempotency_key`, a request field, or `natural_key`",
        ),
        (
            " AND so_cuoi = :first",
            "",
            "natural_key: the method's sql does not compare :first",
        ),
        (
            "= \"declaration\"\nsteps",
            "= \"born\"\nsteps",
            "idempotency_key is no required request field",
        ),
        (
            "name = \"number\", sql",
            "name = \"birth\", sql",
            "each step has a name of its own",
        ),
        (
            "UPDATE so_dem SET",
            "SELECT so_dem SET",
            "the step begins with \"SELECT\"",
        ),
        (
            "UPDATE so_dem SET",
            "DROP so_dem SET",
            "the step begins with \"DROP\"",
        ),
        (
            "kind = \"unary\"\nidem",
            "kind = \"server-streaming\"\nidem",
            "a method that writes is unary",
        ),
        (
            "name = \"Count\"\nkind = \"unary\"",
            "name = \"Count\"\nkind = \"unary\"\nidempotency_key = \"x\"",
            "only reads needs no key",
        ),
    ] {
        let place = Place::without_database(&replace(&configuration, from, to));
        let said = text(&place.run("proto", &[]).stderr);
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// The adapter over a database with one method that calls a procedure.
async fn calling(table: &str) -> RunningAdapter {
    let configuration = format!(
        "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n{table}\n\
         [[methods]]\nname = \"Declare\"\nkind = \"unary\"\nidempotency_key = \"declaration\"\n\
         steps = [{{ name = \"call\", sql = \"CALL declare_birth(:declaration)\" }}]\n\
         sql = \"SELECT count(*) AS births FROM birth\"\n\
         request = [{{ name = \"declaration\", type = \"text\" }}]\n\
         reply = [{{ name = \"births\", type = \"integer\" }}]\n"
    );
    Place::without_database(&configuration).serve().await
}

#[tokio::test]
async fn one_call_of_a_procedure_is_a_step_like_others() {
    let postgresql = Postgresql::new(
        "UTF8",
        "CREATE TABLE birth (id TEXT);
         CREATE PROCEDURE declare_birth(id TEXT) LANGUAGE plpgsql AS 'BEGIN INSERT INTO birth VALUES (id); END'",
    )
    .await;
    postgresql
        .run(&key_table(&with_table(&postgresql.table())))
        .await;
    postgresql
        .run(&format!(
            "GRANT ALL ON birth, lienthong_written TO {}",
            postgresql.name
        ))
        .await;
    let mariadb = MariaDb::new(
        "CREATE TABLE birth (id VARCHAR(40));
         CREATE PROCEDURE declare_birth(id VARCHAR(40)) INSERT INTO birth VALUES (id)",
    )
    .await;
    mariadb.run(&key_table(&with_table(&mariadb.table()))).await;
    mariadb
        .run(&format!(
            "GRANT INSERT, UPDATE, EXECUTE ON {0}.* TO {0}",
            mariadb.name
        ))
        .await;
    for table in [postgresql.table(), mariadb.table()] {
        let adapter = calling(&table).await;
        let mut client = adapter.client().await;
        for (declaration, births) in [("1", 1), ("1", 1), ("2", 2)] {
            let reply = client
                .ask("Declare", &[("declaration", string(declaration))])
                .await
                .unwrap();
            assert_eq!(reply, [("births".to_owned(), Value::I64(births))]);
        }
    }
    // A procedure that ends the transaction by itself keeps a part, and the call is never done again.
    mariadb
        .run("DROP PROCEDURE declare_birth; CREATE PROCEDURE declare_birth(id VARCHAR(40)) BEGIN INSERT INTO birth VALUES (id); COMMIT; END")
        .await;
    let adapter = calling(&mariadb.table()).await;
    let mut client = adapter.client().await;
    for _ in 0..2 {
        let error = client
            .ask("Declare", &[("declaration", string("3"))])
            .await
            .unwrap_err();
        assert_eq!(
            reason(&error, "retry"),
            ("NOT_WHOLE".into(), Some("false".into()))
        );
    }
    let mut owner = mariadb.owner().await;
    let births: i64 = sqlx::query_scalar("SELECT count(*) FROM birth")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(births, 3);
    // Also if something else fails afterwards, or it begins another transaction: nobody is told that nothing was changed.
    for (position, (body, said)) in [
        ("COMMIT; SIGNAL SQLSTATE '45000'", ("NOT_WHOLE", "false")),
        ("COMMIT; START TRANSACTION", ("NOT_WHOLE", "false")),
        // What a lock that is waited for too long says, and a deadlock, of which only that takes everything back.
        (
            "COMMIT; SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205",
            ("OUTCOME_UNKNOWN", "true"),
        ),
        (
            "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1205",
            ("DATABASE_LOCKED", "true"),
        ),
    ]
    .iter()
    .enumerate()
    {
        mariadb
            .run(&format!("DROP PROCEDURE declare_birth; CREATE PROCEDURE declare_birth(id VARCHAR(40)) BEGIN INSERT INTO birth VALUES (id); {body}; END"))
            .await;
        let adapter = calling(&mariadb.table()).await;
        let declaration = format!("more-{position}");
        let error = adapter
            .client()
            .await
            .ask("Declare", &[("declaration", string(&declaration))])
            .await
            .unwrap_err();
        assert_eq!(
            reason(&error, "retry"),
            (said.0.into(), Some(said.1.into())),
            "{body}"
        );
    }
    // One in PostgreSQL cannot: it is refused, and nothing is kept.
    postgresql
        .run("CREATE OR REPLACE PROCEDURE declare_birth(id TEXT) LANGUAGE plpgsql AS 'BEGIN INSERT INTO birth VALUES (id); COMMIT; END'")
        .await;
    let adapter = calling(&postgresql.table()).await;
    let error = adapter
        .client()
        .await
        .ask("Declare", &[("declaration", string("3"))])
        .await
        .unwrap_err();
    assert_eq!(reason(&error, "").0, "STATEMENT_FAILED");
    let mut owner = postgresql.owner().await;
    let births: i64 = sqlx::query_scalar("SELECT count(*) FROM birth")
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(births, 2);
}

/// A configuration of which only the engine counts.
fn with_table(table: &str) -> String {
    CONFIGURATION.replace("DATABASE", table)
}

#[tokio::test]
async fn tables_that_cannot_take_back_a_transaction_are_refused() {
    let database = MariaDb::new(&format!(
        "{} ALTER TABLE so_dem ENGINE = MyISAM;",
        TABLES
            .replace("TEXT_TYPE", "VARCHAR(60)")
            .replace(" REFERENCES so_dem", "")
    ))
    .await;
    let configuration = with_table(&database.table());
    database.run(&key_table(&configuration)).await;
    database
        .run(&format!(
            "GRANT INSERT, UPDATE ON {0}.* TO {0}",
            database.name
        ))
        .await;
    let place = Place::without_database(&configuration);
    assert!(place.run("proto", &[]).status.success());
    let said = text(&place.run("check", &[]).stdout);
    database
        .run("ALTER TABLE so_dem ENGINE = InnoDB; ALTER TABLE lienthong_written ENGINE = Aria")
        .await;
    let again = text(&place.run("check", &[]).stdout);
    assert!(
        again.contains("the table lienthong_written is kept by Aria"),
        "{again}"
    );
    assert!(
        said.contains(
            "step number: the table so_dem is kept by MyISAM, which cannot take back a transaction"
        ),
        "{said}"
    );
}
