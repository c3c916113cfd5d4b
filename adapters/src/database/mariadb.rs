//! A server of MariaDB, asked for text as the bytes that are stored, in read-only transactions where methods only read.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Executor, MySql, MySqlConnection, Row,
    Statement as _, ValueRef,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError, MySqlRow, MySqlSslMode},
    query::Query,
};

use super::{
    DatabaseError, Prepared, TableColumn,
    pool::{Control, Driver, REST, Run},
    read_authority,
};
use crate::{
    configuration::{ServerAddress, ServerSettings},
    engine::Engine,
    field_type::Cell,
    statement::{Bind, Purpose, Statement},
};

mod catalogue;
mod values;

/// The server, and how it is connected to.
pub(super) struct MariaDbDriver {
    options: MySqlConnectOptions,
    lock_timeout: Duration,
    purpose: Purpose,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: MySqlConnection,
    /// The server's number of it.
    id: u64,
    /// What its statements may take, in seconds.
    time_limit: u64,
}

impl MariaDbDriver {
    pub(super) fn new(
        server: &ServerSettings,
        lock_timeout: Duration,
        purpose: Purpose,
    ) -> Result<Self, DatabaseError> {
        let options = MySqlConnectOptions::new()
            .username(&server.user)
            .database(&server.database)
            .set_names(false)
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone(None)
            .disable_statement_logging();
        let options = match server.password()? {
            Some(password) => options.password(&password),
            None => options,
        };
        let options = match &server.address {
            ServerAddress::Unix { path, .. } => {
                options.socket(path).ssl_mode(MySqlSslMode::Disabled)
            }
            ServerAddress::Tcp {
                host,
                port,
                authority,
            } => {
                let options = options.host(host).port(*port);
                match authority {
                    None => options.ssl_mode(MySqlSslMode::Disabled),
                    Some(authority) => options
                        .ssl_mode(MySqlSslMode::VerifyIdentity)
                        .ssl_ca_from_pem(read_authority(authority)?),
                }
            }
        };
        Ok(Self {
            options,
            lock_timeout,
            purpose,
        })
    }
}

/// Without the options, which hold the password.
impl fmt::Debug for MariaDbDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MariaDbDriver")
            .finish_non_exhaustive()
    }
}

impl Driver for MariaDbDriver {
    type Session = Session;

    async fn connect(&self) -> Result<Session, DatabaseError> {
        let mut connection = MySqlConnection::connect_with(&self.options)
            .await
            .map_err(classify)?;
        let version: String = sqlx::query_scalar("SELECT CAST(VERSION() AS CHAR)")
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        if !version.contains("MariaDB") {
            return Err(DatabaseError::Unsupported {
                what: format!("the server (version {version})"),
                remedy: "only MariaDB is read: MySQL has other time limits, and nothing was tried on it",
            });
        }
        // Results are the bytes that are stored, and the SQL text has the quotation marks of the standard.
        let settings = format!(
            "SET SESSION autocommit = 1, completion_type = 'NO_CHAIN', sql_select_limit = 18446744073709551615, \
             tx_isolation = 'REPEATABLE-READ', character_set_client = utf8mb4, character_set_connection = utf8mb4, \
             character_set_results = NULL, sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', \
             tx_read_only = {}, lock_wait_timeout = {1}, innodb_lock_wait_timeout = {1}",
            match self.purpose {
                Purpose::Reading => "ON",
                Purpose::Writing => "OFF",
            },
            self.lock_timeout.as_secs().max(1)
        );
        sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut connection)
            .await
            .map_err(classify)?;
        let id = sqlx::query_scalar("SELECT CAST(CONNECTION_ID() AS UNSIGNED)")
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        Ok(Session {
            connection,
            id,
            time_limit: 0,
        })
    }

    fn is_current(&self, _session: &Session) -> bool {
        true
    }

    async fn probe(&self, session: &mut Session) -> Result<(), DatabaseError> {
        session.connection.ping().await.map_err(classify)
    }

    async fn may_write(&self, session: &mut Session) -> Result<Option<String>, DatabaseError> {
        catalogue::may_write(session).await
    }

    async fn columns(
        &self,
        session: &mut Session,
        table: &str,
    ) -> Result<Vec<TableColumn>, DatabaseError> {
        catalogue::columns(session, table).await
    }

    async fn is_unique(
        &self,
        session: &mut Session,
        table: &str,
        columns: &[String],
    ) -> Result<bool, DatabaseError> {
        catalogue::is_unique(session, table, columns).await
    }

    /// Who may only read is shown no trigger.
    async fn triggers(
        &self,
        _session: &mut Session,
        _table: &str,
        _names: &[String],
    ) -> Result<Option<usize>, DatabaseError> {
        Ok(None)
    }

    async fn fault_of_numbers(
        &self,
        session: &mut Session,
        table: &str,
        column: &str,
    ) -> Result<Option<String>, DatabaseError> {
        catalogue::fault_of_numbers(session, table, column).await
    }

    async fn prepare(
        &self,
        session: &mut Session,
        statement: &Statement,
    ) -> Result<Prepared, DatabaseError> {
        let mut character_sets = Vec::new();
        let mut faults = Vec::new();
        for column in statement.columns_with_lists() {
            match catalogue::character_set(session, statement, column).await? {
                Ok(Some(character_set)) => character_sets.push((column, character_set)),
                Ok(None) => {}
                Err(fault) => faults.push(fault),
            }
        }
        let character_set = |column: &str| {
            let mut known = character_sets.iter();
            known
                .find(|(known, _)| *known == column)
                .map(|(_, character_set)| character_set.clone())
        };
        if self.purpose == Purpose::Writing {
            faults.extend(catalogue::tables_that_cannot_roll_back(session, statement).await?);
        }
        let bound = statement.for_mariadb(character_set);
        let text: Arc<str> = bound.sql.into();
        // The text is the integrator's and holds no value: parameters are bound.
        let sql = AssertSqlSafe(Arc::clone(&text));
        let prepared = (&mut session.connection)
            .prepare(sqlx::SqlSafeStr::into_sql_str(sql))
            .await
            .map_err(classify)?;
        let columns = prepared.columns().iter();
        let columns = columns.map(|column| column.name().to_owned()).collect();
        let parameters = prepared.parameters().and_then(|found| found.right());
        let parameters = parameters.unwrap_or(0);
        if parameters != bound.binds.len() {
            faults.push("the SQL text has parameters that are no request fields".to_owned());
        }
        Ok(Prepared {
            text,
            binds: bound.binds,
            types: Vec::new(),
            columns,
            parameters: statement.value_count(),
            writes: false,
            faults,
        })
    }

    /// MariaDB plans for the values that it is given.
    async fn plan(
        &self,
        session: &mut Session,
        statement: &Prepared,
        values: Option<&[Cell]>,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        let Some(values) = values else {
            return Ok(None);
        };
        let asked = AssertSqlSafe(format!("EXPLAIN {}", statement.text));
        let steps = sqlx::query_with(asked, arguments(&statement.binds, values)?)
            .fetch_all(&mut session.connection)
            .await
            .map_err(classify)?;
        steps
            .iter()
            .map(in_words)
            .collect::<Result<_, _>>()
            .map(Some)
    }

    async fn run(&self, session: &mut Session, run: Run<'_>) -> Result<(), DatabaseError> {
        session.limit_time(run.time).await?;
        let query = query(run.statement, run.values)?;
        let rows = (&mut session.connection).fetch_many(query);
        run.rows.forward(rows, cells, classify).await
    }

    async fn control(
        &self,
        session: &mut Session,
        control: Control,
        time: Duration,
    ) -> Result<(), DatabaseError> {
        let sql = match control {
            Control::Begin => {
                session.limit_time(time).await?;
                // The savepoint is gone when a statement ends the transaction by itself, and begins another or not.
                "START TRANSACTION READ WRITE; SAVEPOINT lienthong"
            }
            Control::Commit => "COMMIT",
            Control::Rollback => "ROLLBACK",
        };
        let done = sqlx::raw_sql(sql).execute(&mut session.connection).await;
        done.map(|_result| ()).map_err(classify)
    }

    async fn execute(
        &self,
        session: &mut Session,
        statement: &Prepared,
        values: &[Cell],
    ) -> Result<u64, DatabaseError> {
        let query = query(statement, values)?;
        let done = query.execute(&mut session.connection).await;
        done.map(|result| result.rows_affected()).map_err(classify)
    }

    async fn fetch(
        &self,
        session: &mut Session,
        statement: &Prepared,
        values: &[Cell],
    ) -> Result<Vec<Vec<Cell>>, DatabaseError> {
        let query = query(statement, values)?;
        let rows = query.fetch(&mut session.connection).take(2);
        let rows: Vec<_> = rows.try_collect().await.map_err(classify)?;
        rows.iter().map(cells).collect()
    }

    async fn is_in_transaction(&self, session: &mut Session) -> Result<bool, DatabaseError> {
        let released = sqlx::raw_sql("RELEASE SAVEPOINT lienthong; SAVEPOINT lienthong")
            .execute(&mut session.connection)
            .await
            .map_err(classify);
        match released {
            Ok(_done) => Ok(true),
            Err(DatabaseError::Statement { code, .. }) if code == "1305" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Another connection of the same account may end this one, whose statement may be busy for long.
    async fn stop(&self, session: Session) -> Option<Session> {
        let end = async {
            let mut other = MySqlConnection::connect_with(&self.options).await?;
            sqlx::raw_sql(AssertSqlSafe(format!("KILL CONNECTION {}", session.id)))
                .execute(&mut other)
                .await?;
            other.close().await
        };
        // If that fails, the statement ends at its own time limit.
        let _ = tokio::time::timeout(REST, end).await;
        None
    }
}

impl Session {
    /// What a statement may take at the server, a little more than here: the word "deadline" is ours.
    async fn limit_time(&mut self, time: Duration) -> Result<(), DatabaseError> {
        let wanted = (time + Duration::from_millis(500)).as_secs() + 1;
        if wanted != self.time_limit {
            sqlx::raw_sql(AssertSqlSafe(format!(
                "SET SESSION max_statement_time = {wanted}"
            )))
            .execute(&mut self.connection)
            .await
            .map_err(classify)?;
            self.time_limit = wanted;
        }
        Ok(())
    }
}

/// A row of EXPLAIN (https://mariadb.com/kb/en/explain/): the table, how it is read, by which index.
fn in_words(step: &MySqlRow) -> Result<String, DatabaseError> {
    let part = |name: &str| {
        let part: Option<Vec<u8>> = step.try_get_unchecked(name).map_err(classify)?;
        Ok(part.map(|part| String::from_utf8_lossy(&part).into_owned()))
    };
    let (table, how) = (part("table")?, part("type")?);
    let (key, extra) = (part("key")?, part("Extra")?);
    let mut words = match (table, how.as_deref(), key) {
        (Some(table), Some("ALL"), _) => format!("{table}: ALL (reads all of it)"),
        (Some(table), Some(how), Some(key)) => format!("{table}: {how}, index {key}"),
        (Some(table), how, _) => format!("{table}: {}", how.unwrap_or("-")),
        (None, ..) => "no table".to_owned(),
    };
    if let Some(extra) = extra.filter(|extra| !extra.is_empty()) {
        words.push_str(&format!(" ({extra})"));
    }
    Ok(words)
}

/// A statement with its values.
fn query<'a>(
    statement: &Prepared,
    values: &[Cell],
) -> Result<Query<'a, MySql, MySqlArguments>, DatabaseError> {
    // The text is the integrator's and holds no value: parameters are bound.
    let text = AssertSqlSafe(Arc::clone(&statement.text));
    Ok(sqlx::query_with(text, arguments(&statement.binds, values)?))
}

fn arguments(binds: &[Bind], values: &[Cell]) -> Result<MySqlArguments, DatabaseError> {
    let mut arguments = MySqlArguments::default();
    for bind in binds {
        let value = values.get(bind.value).ok_or(DatabaseError::of_driver())?;
        values::bind(&mut arguments, value, bind.form)?;
    }
    Ok(arguments)
}

fn cells(row: &MySqlRow) -> Result<Vec<Cell>, DatabaseError> {
    let cell = |position| {
        let value = row.try_get_raw(position).map_err(classify)?;
        match value.is_null() {
            true => Ok(Cell::Null),
            false => values::cell(value),
        }
    };
    (0..row.len()).map(cell).collect()
}

/// What an error of the driver means for a caller; see https://mariadb.com/kb/en/mariadb-error-code-reference/.
fn classify(error: sqlx::Error) -> DatabaseError {
    let fault = match &error {
        sqlx::Error::Database(fault) => fault.try_downcast_ref::<MySqlDatabaseError>(),
        sqlx::Error::Io(fault) => return DatabaseError::of_network(fault),
        sqlx::Error::Tls(fault) => return DatabaseError::unknown_server(fault.to_string()),
        _ => None,
    };
    let Some(fault) = fault else {
        return DatabaseError::of_driver();
    };
    let detail = fault.message().to_owned();
    match fault.number() {
        1969 => DatabaseError::Deadline,
        1205 | 1213 => DatabaseError::Locked,
        1062 => DatabaseError::Conflict { detail },
        // 1644: what a trigger or a procedure signals on purpose.
        1264 | 1265 | 1292 | 1366 | 1406 => DatabaseError::Constraint { detail },
        1048 | 1216 | 1217 | 1364 | 1451 | 1452 | 1644 | 4025 => {
            DatabaseError::Constraint { detail }
        }
        1037 | 1038 | 1041 => DatabaseError::Memory,
        1040 | 1053 | 1203 | 1226 | 1317 | 1927 => DatabaseError::no_server(detail),
        1044 | 1045 | 1049 | 1142 | 1143 | 1227 | 1370 | 1698 => DatabaseError::Denied { detail },
        126 | 127 | 144 | 145 | 1034 | 1035 | 1194 | 1195 => DatabaseError::Damaged { detail },
        number => DatabaseError::Statement {
            engine: Engine::MariaDb.name(),
            code: number.to_string(),
            detail,
        },
    }
}
