//! Databases of servers: one for each test, on the servers that `./check` starts, with an account that may only read.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
    sync::Arc,
};

use adapters::{
    configuration::ServerAddress,
    database::{Database, DatabaseError},
    engine::Engine,
    field_type::Cell,
    statement::{Field, Statement},
};

use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, PgConnection, SqliteConnection,
    mysql::{MySqlConnectOptions, MySqlSslMode},
    postgres::PgConnectOptions,
    sqlite::SqliteConnectOptions,
};
use tokio::time::Instant;

use crate::harness::HANGS;

/// A database of the PostgreSQL server.
pub struct Postgresql {
    socket: String,
    pub port: u16,
    pub name: String,
}

/// A database of the MariaDB server.
pub struct MariaDb {
    socket: String,
    pub port: u16,
    pub name: String,
}

impl Postgresql {
    /// A database in an encoding of the server's, made by this SQL.
    pub async fn new(encoding: &str, sql: &str) -> Self {
        let database = Self {
            socket: variable("LIENTHONG_POSTGRESQL"),
            port: variable("LIENTHONG_POSTGRESQL_PORT").parse().unwrap(),
            name: name(),
        };
        let name = &database.name;
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        execute_postgresql(database.connection("postgres").await, &create).await;
        database.run(sql).await;
        database
            .run(&format!(
                "CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}"
            ))
            .await;
        database
    }

    /// What its owner does: the legacy program beside the adapter.
    pub async fn run(&self, sql: &str) {
        execute_postgresql(self.owner().await, sql).await;
    }

    pub async fn owner(&self) -> PgConnection {
        self.connection(&self.name).await
    }

    /// The socket of the server.
    pub fn socket_file(&self) -> PathBuf {
        PathBuf::from(&self.socket).join(format!(".s.PGSQL.{}", self.port))
    }

    pub fn address(&self) -> ServerAddress {
        ServerAddress::Unix {
            path: self.socket.clone().into(),
            port: self.port,
        }
    }

    /// The table of a configuration that reads it.
    pub fn table(&self) -> String {
        let Self { socket, port, name } = self;
        format!(
            "postgresql = {{ socket = \"{socket}\", port = {port}, database = \"{name}\", user = \"{name}\" }}"
        )
    }

    async fn connection(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .socket(&self.socket)
            .port(self.port)
            .username("postgres")
            .database(database);
        PgConnection::connect_with(&options).await.unwrap()
    }
}

impl MariaDb {
    /// A database made by this SQL.
    pub async fn new(sql: &str) -> Self {
        let database = Self {
            socket: variable("LIENTHONG_MARIADB"),
            port: variable("LIENTHONG_MARIADB_PORT").parse().unwrap(),
            name: name(),
        };
        let name = &database.name;
        let create = format!(
            "CREATE DATABASE {name}; CREATE USER {name}; GRANT SELECT ON {name}.* TO {name}"
        );
        execute_mariadb(database.connection("mysql").await, &create).await;
        database.run(sql).await;
        database
    }

    /// What its owner does: the legacy program beside the adapter.
    pub async fn run(&self, sql: &str) {
        execute_mariadb(self.owner().await, sql).await;
    }

    pub async fn owner(&self) -> MySqlConnection {
        self.connection(&self.name).await
    }

    /// The socket of the server.
    pub fn socket_file(&self) -> PathBuf {
        PathBuf::from(&self.socket)
    }

    pub fn address(&self) -> ServerAddress {
        ServerAddress::Unix {
            path: self.socket.clone().into(),
            port: self.port,
        }
    }

    /// The table of a configuration that reads it.
    pub fn table(&self) -> String {
        let Self { socket, name, .. } = self;
        format!("mariadb = {{ socket = \"{socket}\", database = \"{name}\", user = \"{name}\" }}")
    }

    async fn connection(&self, database: &str) -> MySqlConnection {
        let options = MySqlConnectOptions::new()
            .socket(&self.socket)
            .username("root")
            .ssl_mode(MySqlSslMode::Disabled)
            .database(database);
        MySqlConnection::connect_with(&options).await.unwrap()
    }
}

/// A database of one of the engines, and what its owner does and sees: the legacy program beside the adapter.
pub enum Register {
    Sqlite(tempfile::TempDir),
    Postgresql(Postgresql),
    MariaDb(MariaDb),
}

impl Register {
    /// Made by this SQL.
    pub async fn sqlite(sql: &str) -> Self {
        let register = Self::Sqlite(tempfile::tempdir().unwrap());
        register.run(sql).await;
        register
    }

    pub const fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgresql(_) => "PostgreSQL",
            Self::MariaDb(_) => "MariaDB",
        }
    }

    /// The table of a configuration over it.
    pub fn table(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite = {:?}", folder.path().join("register.db")),
            Self::Postgresql(own) => own.table(),
            Self::MariaDb(own) => own.table(),
        }
    }

    pub async fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(folder) => {
                let mut connection = sqlite(folder).await;
                let sql = AssertSqlSafe(sql.to_owned());
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            Self::Postgresql(own) => own.run(sql).await,
            Self::MariaDb(own) => own.run(sql).await,
        }
    }

    /// What a statement answers: one number.
    pub async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(folder) => {
                sqlx::query_scalar(sql)
                    .fetch_one(&mut sqlite(folder).await)
                    .await
            }
            Self::Postgresql(own) => {
                sqlx::query_scalar(sql)
                    .fetch_one(&mut own.owner().await)
                    .await
            }
            Self::MariaDb(own) => {
                sqlx::query_scalar(sql)
                    .fetch_one(&mut own.owner().await)
                    .await
            }
        }
        .unwrap()
    }
}

async fn sqlite(folder: &tempfile::TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(folder.path().join("register.db"))
        .create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn execute_postgresql(mut connection: PgConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn execute_mariadb(mut connection: MySqlConnection, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub fn variable(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests with ./check, which starts the databases that they need")
    })
}

/// One that no other test has, in this run or another on the same servers.
fn name() -> String {
    format!("t{:016x}", RandomState::new().build_hasher().finish())
}

/// All rows of a statement, with the value of its parameter `:v`, if it has one.
pub async fn all_rows(
    database: &Database,
    engine: Engine,
    sql: &str,
    value: Option<Cell>,
) -> Result<Vec<Vec<Cell>>, DatabaseError> {
    let field = Field {
        name: "v",
        ways: 1,
        needs_all: false,
        is_text: false,
        is_bytes: false,
        is_key: false,
    };
    let fields: Vec<_> = value.iter().map(|_| field).collect();
    let statement = Statement::parse(sql, &fields, engine).unwrap();
    let prepared = Arc::new(database.prepare(&statement).await?);
    assert_eq!(prepared.faults, Vec::<String>::new());
    let values = value.into_iter().collect();
    let mut rows = database.query(&prepared, values, Instant::now() + HANGS, ());
    let mut found = Vec::new();
    while let Some(row) = rows.next().await? {
        found.push(row);
    }
    Ok(found)
}
