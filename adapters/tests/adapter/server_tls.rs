//! Servers of databases over TLS and with passwords: known by the certificates that the configuration names, or not at all.

use std::{path::Path, process::Command};

use sqlx::AssertSqlSafe;

use crate::{
    harness::{Place, string, text},
    servers::{MariaDb, Postgresql, variable},
};

const SQL: &str = "CREATE TABLE person (id VARCHAR(12), name VARCHAR(60)); INSERT INTO person VALUES ('1', 'An');";

/// One of the engines, with an account that has a password and must use TLS.
enum Database {
    Postgresql(Postgresql),
    MariaDb(MariaDb),
}

impl Database {
    async fn both() -> [Self; 2] {
        let postgresql = Postgresql::new("UTF8", SQL).await;
        let secret = format!("ALTER ROLE {} PASSWORD 'bí mật'", postgresql.name);
        postgresql.run(&secret).await;
        let mariadb = MariaDb::new(SQL).await;
        let secret = format!(
            "ALTER USER {} IDENTIFIED BY 'bí mật' REQUIRE SSL",
            mariadb.name
        );
        mariadb.run(&secret).await;
        [Self::Postgresql(postgresql), Self::MariaDb(mariadb)]
    }

    fn configuration(&self, host: &str, keys: &str) -> String {
        let (engine, name, port) = match self {
            Self::Postgresql(own) => ("postgresql", &own.name, own.port),
            Self::MariaDb(own) => ("mariadb", &own.name, own.port),
        };
        format!(
            "[service]\nname = \"vn.test.v1.Register\"\n[listen]\naddress = \"127.0.0.1:0\"\n[database]\n\
             {engine} = {{ host = \"{host}\", port = {port}, database = \"{name}\", user = \"{name}\", {keys} }}\n\
             [[methods]]\nname = \"Find\"\nkind = \"unary\"\nsql = \"SELECT name FROM person WHERE id IN (:id)\"\n\
             request = [{{ name = \"id\", type = \"text\" }}]\nreply = [{{ name = \"name\", type = \"text\" }}]\n"
        )
    }
}

fn place(configuration: &str, password: &str) -> Place {
    let place = Place::without_database(configuration);
    std::fs::write(place.path("password"), password).unwrap();
    place
}

/// An authority that has signed nothing.
fn another_authority(path: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=another",
            "-keyout",
            "/dev/null",
            "-out",
        ])
        .arg(path)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made.stderr));
}

#[tokio::test]
async fn a_server_is_reached_over_tls_with_a_password_from_a_file() {
    let ca = variable("LIENTHONG_DATABASES_CA");
    for database in Database::both().await {
        let keys = format!("ca = \"{ca}\", password_file = \"password\"");
        let adapter = place(&database.configuration("localhost", &keys), "bí mật\n")
            .serve()
            .await;
        let mut client = adapter.client().await;
        let found = client.ask("Find", &[("id", string("1"))]).await.unwrap();
        assert_eq!(found, [("name".to_owned(), string("An"))]);
        // MariaDB lets this account in over TLS only; PostgreSQL says how it came in.
        if let Database::Postgresql(own) = &database {
            let asked = format!(
                "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = '{}'",
                own.name
            );
            let mut owner = own.owner().await;
            let encrypted: Vec<bool> = sqlx::query_scalar(AssertSqlSafe(asked))
                .fetch_all(&mut owner)
                .await
                .unwrap();
            assert!(
                !encrypted.is_empty() && encrypted.iter().all(|one| *one),
                "{encrypted:?}"
            );
        }
    }
}

#[tokio::test]
async fn another_server_or_another_password_is_refused() {
    let ca = variable("LIENTHONG_DATABASES_CA");
    for database in Database::both().await {
        for (host, keys, password, expected) in [
            (
                "localhost",
                "ca = \"another.pem\", password_file = \"password\"",
                "bí mật",
                "that `host` is a name in it",
            ),
            (
                "127.0.0.1",
                "ca = \"CA\", password_file = \"password\"",
                "bí mật",
                "not valid for name",
            ),
            (
                "localhost",
                "ca = \"CA\", password_file = \"password\"",
                "bi mat",
                "does not let this account in",
            ),
            (
                "localhost",
                "ca = \"CA\"",
                "bí mật",
                "does not let this account in",
            ),
            (
                "localhost",
                "ca = \"CA\", password_file = \"nowhere\"",
                "",
                "nowhere: No such file",
            ),
            (
                "localhost",
                "ca = \"CA\", password_variable = \"NOT_SET_ANYWHERE\"",
                "",
                "NOT_SET_ANYWHERE (password_variable) is not set",
            ),
            (
                "localhost",
                "ca = \"missing.pem\", password_file = \"password\"",
                "bí mật",
                "missing.pem: No such file",
            ),
        ] {
            let keys = keys.replace("CA", &ca);
            let place = place(&database.configuration(host, &keys), password);
            another_authority(&place.path("another.pem"));
            assert!(place.run("proto", &[]).status.success());
            let refused = place.run("check", &[]);
            let said = text(&refused.stderr);
            assert!(
                !refused.status.success() && said.contains(expected),
                "{keys}: {expected}: {said}"
            );
            assert!(!said.contains(password) || password.is_empty(), "{said}");
        }
    }
}

#[tokio::test]
async fn a_password_may_come_from_the_environment() {
    let ca = variable("LIENTHONG_DATABASES_CA");
    for database in Database::both().await {
        let keys = format!("ca = \"{ca}\", password_variable = \"REGISTER_PASSWORD\"");
        let place = place(&database.configuration("localhost", &keys), "");
        assert!(place.run("proto", &[]).status.success());
        let checked = Command::new(env!("CARGO_BIN_EXE_adapter"))
            .arg("check")
            .arg(place.config())
            .env("REGISTER_PASSWORD", "bí mật")
            .output()
            .unwrap();
        assert!(
            text(&checked.stdout).contains("ready to serve"),
            "{}",
            text(&checked.stderr)
        );
    }
}
