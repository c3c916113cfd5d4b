//! A million records of each engine through the bus: all of them, in order, and nobody holds more than a few at once.
//! What it takes stands beside what the engine's own client takes for the same rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use examples::{
    benchmark::usage::Usage,
    caller::{Caller, Method},
    echo::{self, CLIENT, PROVIDER},
    federation::Federation,
    registers::Adapter,
};
use prost_reflect::Value;
use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection,
    mysql::{MySqlConnectOptions, MySqlSslMode},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};

const ROWS: usize = 1_000_000;

/// What each program may hold in memory at the most.
const MEMORY: u64 = 64 * 1024 * 1024;

const CONFIGURATION: &str = r#"
[service]
name = "test.echo.v1.Echo"

[listen]
address = "127.0.0.1:0"

[database]
DATABASE

[[methods]]
name = "List"
kind = "batches"
sql = "QUERY"
reply = [{ name = "number", type = "integer" }, { name = "name", type = "text" }]
"#;

const QUERY: &str = "SELECT number, name FROM person ORDER BY number";

/// A database with the rows, and how its engine's own client prints them.
struct Register {
    /// The connection in the adapter's configuration.
    database: String,
    client: Command,
}

impl Register {
    fn new(database: String, client: &str, arguments: &[&str]) -> Self {
        let mut client = Command::new(client);
        client.args(arguments).stdout(Stdio::null());
        Self { database, client }
    }
}

/// The rows, written in SQL of an engine that counts by itself.
fn table(name: &str, numbers: &str) -> String {
    format!(
        "CREATE TABLE person (number INTEGER PRIMARY KEY, name VARCHAR(60) NOT NULL);
         INSERT INTO person SELECT number, {name} FROM {numbers};"
    )
}

/// One that no other run has on the same servers.
fn name() -> String {
    format!(
        "million_{:016x}",
        RandomState::new().build_hasher().finish()
    )
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with ./check"))
}

async fn sqlite(folder: &Path) -> Register {
    let file = folder.join("register.db");
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .create_if_missing(true);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let numbers = format!(
        "(WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {ROWS}) SELECT number FROM n)"
    );
    let sql = AssertSqlSafe(table("'Nguyễn Văn ' || number", &numbers));
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    let file = file.to_str().unwrap();
    let client = ["-readonly", file, QUERY];
    Register::new(format!("sqlite = \"{file}\""), "sqlite3", &client)
}

async fn postgresql() -> Register {
    let (socket, port) = (
        variable("LIENTHONG_POSTGRESQL"),
        variable("LIENTHONG_POSTGRESQL_PORT"),
    );
    let name = name();
    let connect = |database: &str| {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&socket)
            .port(port.parse().unwrap());
        let options = options.username("postgres").database(database);
        async move { PgConnection::connect_with(&options).await.unwrap() }
    };
    let create = AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
    sqlx::raw_sql(create)
        .execute(&mut connect("postgres").await)
        .await
        .unwrap();
    let numbers = format!("generate_series(1, {ROWS}) AS n(number)");
    let sql = table("'Nguyễn Văn ' || number", &numbers)
        + &format!("CREATE ROLE {name} LOGIN; GRANT SELECT ON person TO {name}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connect(&name).await)
        .await
        .unwrap();
    let database = format!(
        "postgresql = {{ socket = \"{socket}\", port = {port}, database = \"{name}\", user = \"{name}\" }}"
    );
    let client = ["-XAt", "-h", &socket, "-p", &port, "-U", &name, "-c", QUERY];
    Register::new(database, "psql", &client)
}

async fn mariadb() -> Register {
    let socket = variable("LIENTHONG_MARIADB");
    let name = name();
    let options = MySqlConnectOptions::new()
        .socket(&socket)
        .ssl_mode(MySqlSslMode::Disabled);
    let mut connection = MySqlConnection::connect_with(&options.username("root"))
        .await
        .unwrap();
    let numbers = format!("(SELECT seq AS number FROM seq_1_to_{ROWS}) AS n");
    let sql = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4; USE {name};")
        + &table("CONCAT('Nguyễn Văn ', number)", &numbers)
        + &format!("CREATE USER {name}; GRANT SELECT ON {name}.* TO {name}");
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    let database =
        format!("mariadb = {{ socket = \"{socket}\", database = \"{name}\", user = \"{name}\" }}");
    let mut client = vec!["--no-defaults", "--quick", "--batch"];
    client.extend(["-S", &socket, "-u", &name, "-e", QUERY, &name]);
    Register::new(database, "mariadb", &client)
}

async fn stream(mut register: Register, folder: &Path) {
    let configuration = folder.join("register.toml");
    let text = CONFIGURATION.replace("DATABASE", &register.database);
    fs::write(&configuration, text.replace("QUERY", QUERY)).unwrap();
    let adapter = Adapter::start(&configuration, folder).await.unwrap();
    let federation = Federation::start(folder, &echo::plan(&adapter.address))
        .await
        .unwrap();
    let consumer = federation.server("consumer").unwrap();
    let address = consumer.plaintext(CLIENT).unwrap();
    let caller = Caller::plaintext(address)
        .await
        .unwrap()
        .with("x-road-service", PROVIDER)
        .unwrap();
    let method = Method::load(&adapter.proto, echo::SERVICE, "List").unwrap();
    let begun = Instant::now();
    let called = caller
        .server_streaming(&method, serde_json::json!({}))
        .await
        .unwrap();
    let (mut messages, mut expected) = (called.into_inner(), 0_usize);
    while let Some(message) = messages.message().await.unwrap() {
        let records = message.get_field_by_name("records").unwrap();
        for record in records.as_list().unwrap() {
            expected += 1;
            let record = record.as_message().unwrap();
            let number = record.get_field_by_name("number").unwrap();
            assert_eq!(*number, Value::I64(i64::try_from(expected).unwrap()));
            let name = record.get_field_by_name("name").unwrap();
            assert_eq!(
                name.as_str(),
                Some(format!("Nguyễn Văn {expected}").as_str())
            );
        }
    }
    assert_eq!(expected, ROWS);
    let through_the_bus = begun.elapsed();
    let begun = Instant::now();
    assert!(register.client.status().unwrap().success());
    let directly = begun.elapsed();
    eprintln!(
        "{ROWS} rows: through the bus {through_the_bus:.2?}, by the engine's own client {directly:.2?}, ratio {:.1}",
        through_the_bus.as_secs_f64() / directly.as_secs_f64()
    );
    let provider = federation.server("provider").unwrap().process_id();
    for (program, process) in [
        ("adapter", adapter.process_id()),
        ("consumer", consumer.process_id()),
        ("provider", provider),
    ] {
        let most = Usage::of(process.unwrap()).unwrap().most_resident;
        eprintln!("{program}: {} MiB at the most", most / 1024 / 1024);
        assert!(most <= MEMORY, "{program} held {most} bytes");
    }
    federation.stop().await.unwrap();
    adapter.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_of_sqlite_pass_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    stream(sqlite(folder.path()).await, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_of_postgresql_pass_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    stream(postgresql().await, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_of_mariadb_pass_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    stream(mariadb().await, folder.path()).await;
}
