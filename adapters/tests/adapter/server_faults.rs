//! Servers of databases that are slow, gone, or give an account too much: definite answers, and no restart.

use std::{path::PathBuf, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request};

use crate::{
    harness::{Client, HANGS, Place, reason, string, text},
    servers::{MariaDb, Postgresql},
};

const CONFIGURATION: &str = r#"
[service]
name = "vn.test.v1.Register"

[listen]
address = "127.0.0.1:0"

[database]
DATABASE
connections = 1

[[methods]]
name = "Find"
kind = "unary"
sql = "SELECT name FROM person WHERE id IN (:id)"
request = [{ name = "id", type = "text" }]
reply = [{ name = "name", type = "text" }]

[[methods]]
name = "Slow"
kind = "unary"
timeout = "300ms"
sql = "SELECT name FROM person WHERE SLOW"
reply = [{ name = "name", type = "text" }]

[[methods]]
name = "Busy"
kind = "unary"
timeout = "3600s"
sql = "SELECT name FROM person WHERE SLOW AND id IN (:id)"
request = [{ name = "id", type = "text" }]
reply = [{ name = "name", type = "text" }]

[[methods]]
name = "Endless"
kind = "server-streaming"
sql = "SELECT ENDLESS"
max_rows = 1000000000000
reply = [{ name = "n", type = "integer" }]
"#;

const SQL: &str = "CREATE TABLE person (id VARCHAR(12) PRIMARY KEY, name VARCHAR(60)); INSERT INTO person VALUES ('1', 'An');";

enum Database {
    Postgresql(Postgresql),
    MariaDb(MariaDb),
}

impl Database {
    async fn both() -> [Self; 2] {
        [
            Self::Postgresql(Postgresql::new("UTF8", SQL).await),
            Self::MariaDb(MariaDb::new(SQL).await),
        ]
    }

    const fn engine(&self) -> &'static str {
        match self {
            Self::Postgresql(_) => "PostgreSQL",
            Self::MariaDb(_) => "MariaDB",
        }
    }

    fn table(&self) -> String {
        match self {
            Self::Postgresql(database) => database.table(),
            Self::MariaDb(database) => database.table(),
        }
    }

    fn configuration(&self, table: &str) -> String {
        let (slow, endless) = match self {
            Self::Postgresql(_) => (
                "pg_sleep(3000) IS NOT NULL",
                "generate_series(1::bigint, 1000000000000) AS n",
            ),
            Self::MariaDb(_) => ("SLEEP(3000) = 0", "seq AS n FROM seq_1_to_1000000000000"),
        };
        let configuration = CONFIGURATION.replace("DATABASE", table);
        configuration
            .replace("SLOW", slow)
            .replace("ENDLESS", endless)
    }

    fn place(&self) -> Place {
        Place::without_database(&self.configuration(&self.table()))
    }

    async fn run(&self, sql: &str) {
        match self {
            Self::Postgresql(database) => database.run(sql).await,
            Self::MariaDb(database) => database.run(sql).await,
        }
    }

    /// How many connections the adapter has, asked of the server itself.
    async fn connections(&self, condition: &str) -> i64 {
        match self {
            Self::Postgresql(database) => {
                let asked = format!(
                    "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND {condition}",
                    database.name
                );
                let mut owner = database.owner().await;
                sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
                    .fetch_one(&mut owner)
                    .await
                    .unwrap()
            }
            Self::MariaDb(database) => {
                let asked = format!(
                    "SELECT count(*) FROM information_schema.processlist WHERE user = '{}' AND {condition}",
                    database.name
                );
                let mut owner = database.owner().await;
                sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
                    .fetch_one(&mut owner)
                    .await
                    .unwrap()
            }
        }
    }

    const fn is_running(&self) -> &'static str {
        match self {
            Self::Postgresql(_) => "state = 'active'",
            Self::MariaDb(_) => "command <> 'Sleep'",
        }
    }

    async fn wait_until_nothing_runs(&self) {
        let deadline = Instant::now() + HANGS;
        while self.connections(self.is_running()).await > 0 {
            assert!(
                Instant::now() < deadline,
                "{}: a statement still runs",
                self.engine()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn find(client: &mut Client) -> Result<Vec<(String, prost_reflect::Value)>, tonic::Status> {
    client.ask("Find", &[("id", string("1"))]).await
}

#[tokio::test]
async fn a_statement_ends_at_its_deadline_and_so_does_its_work_in_the_server() {
    for database in Database::both().await {
        let adapter = database.place().serve().await;
        let mut client = adapter.client().await;
        let error = client.ask("Slow", &[]).await.unwrap_err();
        assert_eq!(reason(&error, "").0, "DEADLINE", "{}", database.engine());
        database.wait_until_nothing_runs().await;
        // The place of its connection is free again.
        find(&mut client).await.unwrap();
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_ends_the_work_in_the_server() {
    for database in Database::both().await {
        let adapter = database.place().serve().await;
        let mut client = adapter.client().await;
        for _ in 0..3 {
            let mut rows = client
                .stream("Endless", Request::new(bytes::Bytes::new()))
                .await
                .unwrap();
            assert!(
                rows.message().await.unwrap().is_some(),
                "{}",
                database.engine()
            );
            drop(rows);
            database.wait_until_nothing_runs().await;
            find(&mut client).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_statement_that_answers_nothing_ends_with_its_caller() {
    for database in Database::both().await {
        let adapter = database.place().serve().await;
        let mut client = adapter.client().await;
        let busy = tokio::spawn(async move { client.ask("Busy", &[("id", string("1"))]).await });
        let deadline = Instant::now() + HANGS;
        while database.connections(database.is_running()).await == 0 {
            assert!(
                Instant::now() < deadline,
                "{}: nothing runs",
                database.engine()
            );
            sleep(Duration::from_millis(20)).await;
        }
        busy.abort();
        database.wait_until_nothing_runs().await;
        find(&mut adapter.client().await).await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_the_server_has_closed_are_replaced_without_a_word() {
    for database in Database::both().await {
        let adapter = database.place().serve().await;
        let mut client = adapter.client().await;
        find(&mut client).await.unwrap();
        match &database {
            Database::Postgresql(own) => {
                let kill = format!(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
                    own.name
                );
                own.run(&kill).await;
            }
            Database::MariaDb(own) => own.run(&format!("KILL USER '{}'", own.name)).await,
        }
        find(&mut client).await.unwrap();
    }
}

/// Stands between an adapter and the socket of a server, and can go away.
struct Door {
    way: JoinSet<()>,
    path: PathBuf,
}

impl Door {
    fn open(path: PathBuf, server: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let mut way = JoinSet::new();
        way.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.unwrap();
                let server = server.clone();
                connections.spawn(async move {
                    let mut there = UnixStream::connect(server).await.unwrap();
                    let _ = copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self { way, path }
    }

    async fn close(mut self) {
        self.way.shutdown().await;
        std::fs::remove_file(&self.path).unwrap();
    }
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_needs_no_restart() {
    for database in Database::both().await {
        let engine = database.engine();
        let doors = tempfile::tempdir().unwrap();
        let (real, here, name) = match &database {
            Database::Postgresql(own) => (
                own.socket_file(),
                doors.path().join(".s.PGSQL.5432"),
                &own.name,
            ),
            Database::MariaDb(own) => (own.socket_file(), doors.path().join("socket"), &own.name),
        };
        let (key, socket) = match &database {
            Database::Postgresql(_) => ("postgresql", doors.path()),
            Database::MariaDb(_) => ("mariadb", here.as_path()),
        };
        let table = format!(
            "{key} = {{ socket = \"{}\", database = \"{name}\", user = \"{name}\" }}",
            socket.display()
        );
        let door = Door::open(here.clone(), real.clone());
        let adapter = Place::without_database(&database.configuration(&table))
            .serve()
            .await;
        let mut client = adapter.client().await;
        find(&mut client).await.unwrap();
        door.close().await;
        for _ in 0..2 {
            let error = find(&mut client).await.unwrap_err();
            assert_eq!(error.code(), Code::Unavailable, "{engine}");
            let expected = ("DATABASE_UNAVAILABLE".to_owned(), Some("true".to_owned()));
            assert_eq!(reason(&error, "retry"), expected, "{engine}");
            assert!(
                !error.message().contains("socket"),
                "{engine}: {}",
                error.message()
            );
        }
        let door = Door::open(here, real);
        find(&mut client).await.unwrap();
        door.close().await;
    }
}

#[tokio::test]
async fn an_account_that_may_write_is_refused_by_name() {
    for database in Database::both().await {
        let (grants, superuser) = match &database {
            Database::Postgresql(own) => {
                let name = &own.name;
                let grants = vec![
                    (
                        format!("GRANT INSERT ON person TO {name}"),
                        "may write public.person",
                    ),
                    (
                        format!(
                            "REVOKE INSERT ON person FROM {name}; GRANT UPDATE (name) ON person TO {name}"
                        ),
                        "may write public.person",
                    ),
                    (
                        format!(
                            "REVOKE UPDATE (name) ON person FROM {name}; CREATE SEQUENCE numbers; GRANT USAGE ON SEQUENCE numbers TO {name}"
                        ),
                        "may use the sequence public.numbers",
                    ),
                    (
                        format!("DROP SEQUENCE numbers; GRANT CREATE ON SCHEMA public TO {name}"),
                        "may create tables in the schema public",
                    ),
                    (
                        format!(
                            "REVOKE CREATE ON SCHEMA public FROM {name}; GRANT pg_write_all_data TO {name}"
                        ),
                        "may write public.person",
                    ),
                ];
                (
                    grants,
                    (
                        format!("REVOKE pg_write_all_data FROM {name}"),
                        "postgres",
                        "is a superuser",
                    ),
                )
            }
            Database::MariaDb(own) => {
                let name = &own.name;
                let grants = vec![
                    (
                        format!("GRANT INSERT ON {name}.person TO {name}"),
                        "has the privilege INSERT on",
                    ),
                    (
                        format!(
                            "REVOKE INSERT ON {name}.person FROM {name}; GRANT UPDATE (name) ON {name}.person TO {name}"
                        ),
                        "has the privilege UPDATE on",
                    ),
                    (
                        format!(
                            "REVOKE UPDATE (name) ON {name}.person FROM {name}; GRANT FILE ON *.* TO {name}"
                        ),
                        "has the privilege FILE on *.*",
                    ),
                ];
                (
                    grants,
                    (
                        format!("REVOKE FILE ON *.* FROM {name}"),
                        "root",
                        "has the privilege ALL PRIVILEGES on *.*",
                    ),
                )
            }
        };
        let place = database.place();
        assert!(place.run("proto", &[]).status.success());
        let refused = |place: &Place, expected: &str| {
            for command in ["check", "serve"] {
                let output = place.run(command, &[]);
                let said = text(&output.stderr);
                assert!(!output.status.success(), "{said}");
                assert!(
                    said.contains(expected) && said.contains("GRANT SELECT"),
                    "{expected}: {said}"
                );
            }
        };
        for (grant, expected) in grants {
            database.run(&grant).await;
            refused(&place, expected);
        }
        let (revoke, account, expected) = superuser;
        database.run(&revoke).await;
        let adapter = database.place().serve().await;
        find(&mut adapter.client().await).await.unwrap();
        let table = database.table();
        let user = format!("user = \"{account}\"");
        let start = table.find("user = ").unwrap();
        let table = format!("{}{user} }}", &table[..start]);
        std::fs::write(place.config(), database.configuration(&table)).unwrap();
        refused(&place, expected);
    }
}

#[tokio::test]
async fn what_the_database_refuses_to_tell_or_to_do_is_said_before_anyone_calls() {
    for database in Database::both().await {
        database.run("CREATE TABLE secret (id INTEGER)").await;
        let (in_words, other_table) = match &database {
            Database::Postgresql(_) => (
                "does not let this account do",
                "SELECT id AS name FROM secret WHERE id > 0",
            ),
            Database::MariaDb(own) => {
                // Only this table: what was granted for the whole database goes.
                let name = &own.name;
                own.run(&format!(
                    "REVOKE SELECT ON {name}.* FROM {name}; GRANT SELECT ON {name}.person TO {name}"
                ))
                .await;
                (
                    "does not let this account do",
                    "SELECT id AS name FROM secret WHERE id > 0",
                )
            }
        };
        let place = database.place();
        let whole = std::fs::read_to_string(place.config()).unwrap();
        let find = "SELECT name FROM person WHERE id IN (:id)";
        for (sql, expected) in [
            (other_table, in_words),
            (
                "SELECT nome AS name FROM person WHERE id IN (:id)",
                "refuses the SQL text: ",
            ),
            (
                "SELECT name, 1 AS more FROM person WHERE id IN (:id)",
                "selects \"more\", which no reply field answers",
            ),
        ] {
            let request = if sql.contains(":id") {
                "request = [{ name = \"id\", type = \"text\" }]\n"
            } else {
                ""
            };
            let changed = whole.replacen(find, sql, 1).replacen(
                "request = [{ name = \"id\", type = \"text\" }]\n",
                request,
                1,
            );
            std::fs::write(place.config(), changed).unwrap();
            assert!(
                place
                    .run("proto", &["--accept-breaking-changes"])
                    .status
                    .success()
            );
            let said = text(&place.run("check", &[]).stdout);
            assert!(
                said.contains("WRONG method Find: ") && said.contains(expected),
                "{}: {said}",
                database.engine()
            );
        }
    }
}
