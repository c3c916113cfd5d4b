//! The database servers of the registers: those that `examples/databases.sh` has started and named in the environment,
//! or some of one's own, which may be killed.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, PgConnection,
    mysql::{MySqlConnectOptions, MySqlSslMode},
    postgres::PgConnectOptions,
};

use tempfile::NamedTempFile;
use tokio::process::Command;

use crate::{
    Error,
    process::{Running, finish},
    waiting::wait_long_for,
};

/// Starts servers of one's own, says where they are, and ends them with its standard input.
const OWN: &str = r#"
set -eu
. "$1/provide.sh"
. "$1/databases.sh"
printf '%s\n' "$LIENTHONG_DATABASES" "$LIENTHONG_POSTGRESQL" "$LIENTHONG_POSTGRESQL_PORT" "$LIENTHONG_MARIADB" > "$2.new"
mv "$2.new" "$2"
cat
"#;

/// How long two servers may take to come into being.
const START_PATIENCE: Duration = Duration::from_secs(120);

/// Where the servers are.
#[derive(Debug, Clone)]
pub struct Servers {
    /// With the process ids.
    folder: PathBuf,
    postgresql: (String, u16),
    mariadb: String,
    /// What ends them, if they are ours.
    _own: Option<Arc<Running>>,
}

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// PostgreSQL.
    PostgreSql,
    /// MariaDB.
    MariaDb,
}

/// A database of a register, with an account of the same name for its adapter.
#[derive(Debug, Clone)]
pub struct ServerDatabase {
    servers: Servers,
    /// Of the database and of the adapter's account.
    pub name: String,
}

impl Servers {
    /// Those that the environment names.
    ///
    /// # Errors
    /// When it names none.
    pub fn from_environment() -> Result<Self, Error> {
        let variable = |name: &str| {
            std::env::var(name).map_err(|_| {
                format!("{name} is not set: ./demo and ./check start the servers that it names")
            })
        };
        Ok(Self {
            folder: variable("LIENTHONG_DATABASES")?.into(),
            postgresql: (
                variable("LIENTHONG_POSTGRESQL")?,
                variable("LIENTHONG_POSTGRESQL_PORT")?.parse()?,
            ),
            mariadb: variable("LIENTHONG_MARIADB")?,
            _own: None,
        })
    }

    /// Starts servers that nobody else uses; they end with the last copy of this.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn start(directory: &Path) -> Result<Self, Error> {
        let said = directory.join("databases.txt");
        let mut shell = Command::new("bash");
        let scripts = env!("CARGO_MANIFEST_DIR");
        shell.args(["-c", OWN, "databases", scripts]).arg(&said);
        let mut running = Running::start_with_input("databases", shell, directory)?;
        let said = wait_long_for("the database servers to start", START_PATIENCE, || {
            let ended = running.ended().map(Err);
            let said = ended.or_else(|| fs::read_to_string(&said).ok().map(Ok));
            std::future::ready(said)
        });
        let said = said.await??;
        let lines: Vec<&str> = said.lines().collect();
        let &[folder, postgresql, port, mariadb] = lines.as_slice() else {
            return Err(format!("not where servers are: {said:?}").into());
        };
        Ok(Self {
            folder: folder.into(),
            postgresql: (postgresql.to_owned(), port.parse()?),
            mariadb: mariadb.to_owned(),
            _own: Some(Arc::new(running)),
        })
    }

    /// Kills a server and all its processes, as a crash of the machine would end them, and waits until it answers
    /// again: `examples/databases.sh` starts it anew.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn kill(&self, engine: Engine) -> Result<(), Error> {
        let name = match engine {
            Engine::PostgreSql => "postgresql",
            Engine::MariaDb => "mariadb",
        };
        let id = fs::read_to_string(self.folder.join(name).with_extension("pid"))?;
        let id = id.trim();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let mut kill = Command::new("kill");
        kill.arg("-KILL").arg(id);
        finish(kill).await?;
        for child in children.split_whitespace() {
            let mut kill = Command::new("kill");
            // It may have ended with its parent.
            let _ = kill.args(["-KILL", child]).output().await?;
        }
        wait_long_for(
            "a killed database server to answer",
            START_PATIENCE,
            || async {
                match engine {
                    Engine::PostgreSql => self.named().postgresql_at("postgres").await.is_ok(),
                    Engine::MariaDb => self.named().mariadb_root().await.is_ok(),
                }
                .then_some(())
            },
        )
        .await
    }

    /// A new database of PostgreSQL without an encoding: it takes bytes for text.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn postgresql(&self) -> Result<ServerDatabase, Error> {
        let database = self.named();
        let name = &database.name;
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        let mut server = database.postgresql_at("postgres").await?;
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut server)
            .await?;
        let create = AssertSqlSafe(format!("CREATE ROLE {name} LOGIN"));
        sqlx::raw_sql(create).execute(&mut server).await?;
        Ok(database)
    }

    /// A new database of MariaDB.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn mariadb(&self) -> Result<ServerDatabase, Error> {
        let database = self.named();
        let name = &database.name;
        let create = format!("CREATE DATABASE {name} CHARACTER SET latin1; CREATE USER {name}");
        let mut server = database.mariadb_root().await?;
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut server)
            .await?;
        Ok(database)
    }

    /// One whose name no other run has on the same servers.
    fn named(&self) -> ServerDatabase {
        ServerDatabase {
            servers: self.clone(),
            name: format!(
                "register_{:016x}",
                RandomState::new().build_hasher().finish()
            ),
        }
    }
}

impl ServerDatabase {
    /// A connection of the owner of a PostgreSQL database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn postgresql(&self) -> Result<PgConnection, Error> {
        self.postgresql_at(&self.name).await
    }

    async fn postgresql_at(&self, name: &str) -> Result<PgConnection, Error> {
        let (socket, port) = &self.servers.postgresql;
        let options = PgConnectOptions::new_without_pgpass()
            .socket(socket)
            .port(*port);
        let options = options.username("postgres").database(name);
        Ok(PgConnection::connect_with(&options).await?)
    }

    /// A connection of the owner of a MariaDB database.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn mariadb(&self) -> Result<MySqlConnection, Error> {
        let mut connection = self.mariadb_root().await?;
        let choose = AssertSqlSafe(format!("USE {}", self.name));
        sqlx::raw_sql(choose).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Runs a text of MariaDB's own client, which knows DELIMITER.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    pub async fn run_mariadb(&self, text: &str) -> Result<(), Error> {
        let mut file = NamedTempFile::new()?;
        file.write_all(text.as_bytes())?;
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            "--socket",
            &self.servers.mariadb,
            &self.name,
        ]);
        client
            .arg("--execute")
            .arg(format!("source {}", file.path().display()));
        finish(client).await.map(drop)
    }

    /// Asks MariaDB's own client; gives what it printed.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    pub async fn ask_mariadb(&self, question: &str) -> Result<String, Error> {
        let mut client = Command::new("mariadb");
        client.args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
        ]);
        client.args([
            "--socket",
            &self.servers.mariadb,
            "--execute",
            question,
            &self.name,
        ]);
        Ok(String::from_utf8(finish(client).await?.stdout)?)
    }

    /// Asks PostgreSQL's own client; gives what it printed.
    ///
    /// # Errors
    /// When it does not end well; with what it said.
    pub async fn ask_postgresql(&self, question: &str) -> Result<String, Error> {
        let (socket, port) = &self.servers.postgresql;
        let mut client = Command::new("psql");
        client.args([
            "--no-psqlrc",
            "--username=postgres",
            "--tuples-only",
            "--no-align",
        ]);
        client.args([
            "--field-separator= ",
            "--host",
            socket,
            "--port",
            &port.to_string(),
        ]);
        client.args(["--dbname", &self.name, "--command", question]);
        Ok(String::from_utf8(finish(client).await?.stdout)?)
    }

    async fn mariadb_root(&self) -> Result<MySqlConnection, Error> {
        let options = MySqlConnectOptions::new()
            .socket(&self.servers.mariadb)
            .ssl_mode(MySqlSslMode::Disabled)
            .username("root");
        Ok(MySqlConnection::connect_with(&options).await?)
    }

    /// How the adapter's configuration names a PostgreSQL database.
    #[must_use]
    pub fn as_postgresql(&self) -> String {
        let (socket, port) = &self.servers.postgresql;
        let name = &self.name;
        format!(
            "postgresql = {{ socket = {socket:?}, port = {port}, database = {name:?}, user = {name:?} }}"
        )
    }

    /// How it names a MariaDB database.
    #[must_use]
    pub fn as_mariadb(&self) -> String {
        let (socket, name) = (&self.servers.mariadb, &self.name);
        format!("mariadb = {{ socket = {socket:?}, database = {name:?}, user = {name:?} }}")
    }
}
