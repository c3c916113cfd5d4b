//! A server of PostgreSQL, asked for text as the bytes that are stored, in read-only transactions where methods only read.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Executor, PgConnection, Postgres, Row,
    Statement as _, TypeInfo as _,
    postgres::{PgArguments, PgColumn, PgConnectOptions, PgDatabaseError, PgRow, PgSslMode},
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
    statement::{Purpose, Statement},
};

mod catalogue;
mod values;

pub(super) use values::ParameterType;

/// The server, and how it is connected to.
pub(super) struct PostgresqlDriver {
    options: PgConnectOptions,
    lock_timeout: Duration,
    purpose: Purpose,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    connection: PgConnection,
    /// The process of the server that answers it.
    process: i32,
    /// What its statements may take, in milliseconds.
    time_limit: u128,
}

impl PostgresqlDriver {
    pub(super) fn new(
        server: &ServerSettings,
        lock_timeout: Duration,
        purpose: Purpose,
    ) -> Result<Self, DatabaseError> {
        // Nothing is taken from PGHOST, PGPASSWORD, ~/.pgpass and the like: the configuration says it all.
        for variable in ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"] {
            if std::env::var_os(variable).is_some() {
                return Err(DatabaseError::Unsupported {
                    what: format!("the variable {variable} of the environment"),
                    remedy: "the configuration says how a database is reached; unset it",
                });
            }
        }
        let options = PgConnectOptions::new_without_pgpass()
            .username(&server.user)
            .password(&server.password()?.unwrap_or_default())
            .database(&server.database)
            .application_name("lienthong-adapter")
            .disable_statement_logging();
        let options = match &server.address {
            ServerAddress::Unix { path, port } => options
                .socket(path)
                .port(*port)
                .ssl_mode(PgSslMode::Disable),
            ServerAddress::Tcp {
                host,
                port,
                authority,
            } => {
                let options = options.host(host).port(*port);
                match authority {
                    None => options.ssl_mode(PgSslMode::Disable),
                    Some(authority) => options
                        .ssl_mode(PgSslMode::VerifyFull)
                        .ssl_root_cert_from_pem(read_authority(authority)?),
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
impl fmt::Debug for PostgresqlDriver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresqlDriver")
            .finish_non_exhaustive()
    }
}

impl Driver for PostgresqlDriver {
    type Session = Session;

    async fn connect(&self) -> Result<Session, DatabaseError> {
        let mut connection = PgConnection::connect_with(&self.options)
            .await
            .map_err(classify)?;
        // SQL_ASCII is PostgreSQL's word for bytes as they are: it converts nothing in either direction.
        let settings = format!(
            "SET client_encoding = 'SQL_ASCII'; SET client_min_messages = error; SET default_transaction_read_only = {}; \
             SET standard_conforming_strings = on; SET synchronous_commit = on; SET lock_timeout = {}",
            match self.purpose {
                Purpose::Reading => "on",
                Purpose::Writing => "off",
            },
            self.lock_timeout.as_millis()
        );
        sqlx::raw_sql(AssertSqlSafe(settings))
            .execute(&mut connection)
            .await
            .map_err(classify)?;
        let process = sqlx::query_scalar("SELECT pg_backend_pid()")
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        Ok(Session {
            connection,
            process,
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
        catalogue::columns(session, &Engine::Postgresql.quoted_table(table)).await
    }

    async fn is_unique(
        &self,
        session: &mut Session,
        table: &str,
        columns: &[String],
    ) -> Result<bool, DatabaseError> {
        catalogue::is_unique(session, table, columns).await
    }

    async fn triggers(
        &self,
        session: &mut Session,
        table: &str,
        names: &[String],
    ) -> Result<Option<usize>, DatabaseError> {
        let table = Engine::Postgresql.quoted_table(table);
        catalogue::triggers(session, &table, names).await.map(Some)
    }

    async fn fault_of_numbers(
        &self,
        session: &mut Session,
        table: &str,
        column: &str,
    ) -> Result<Option<String>, DatabaseError> {
        let table = Engine::Postgresql.quoted_table(table);
        catalogue::fault_of_numbers(session, &table, column).await
    }

    async fn prepare(
        &self,
        session: &mut Session,
        statement: &Statement,
    ) -> Result<Prepared, DatabaseError> {
        let bound = statement.for_postgresql();
        let text: Arc<str> = bound.sql.into();
        // The text is the integrator's and holds no value: parameters are bound.
        let sql = AssertSqlSafe(Arc::clone(&text));
        let prepared = (&mut session.connection)
            .prepare(sqlx::SqlSafeStr::into_sql_str(sql))
            .await
            .map_err(classify)?;
        let columns = prepared.columns().iter();
        let columns = columns.map(|column| column.name().to_owned()).collect();
        let unread = prepared.columns().iter();
        let unread = unread.filter(|column| !values::can_be_read(column.type_info()));
        let faults = unread.map(unread_column).collect();
        let types: Vec<_> = match prepared.parameters() {
            Some(sqlx::Either::Left(types)) => types.iter().map(ParameterType::of).collect(),
            _ => Vec::new(),
        };
        let parameters = types.len();
        let mut faults: Vec<_> = faults;
        if parameters != bound.binds.len() {
            faults.push("the SQL text has parameters that are no request fields".to_owned());
        }
        let mut prepared = Prepared {
            text,
            binds: bound.binds,
            types,
            columns,
            parameters,
            writes: false,
            faults,
        };
        prepared
            .faults
            .extend(catalogue::confused_letters(session, statement).await?);
        // A call has no plan; what it does is for its procedure to say.
        if statement.first_word() == "CALL" {
            prepared.writes = true;
            return Ok(prepared);
        }
        let writes = |step: &String| WRITING_STEPS.iter().any(|word| step.starts_with(word));
        prepared.writes = explain(session, &prepared).await?.iter().any(writes);
        Ok(prepared)
    }

    async fn plan(
        &self,
        session: &mut Session,
        statement: &Prepared,
        _values: Option<&[Cell]>,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        let steps = explain(session, statement).await?;
        Ok(Some(steps.into_iter().map(in_words).collect()))
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
                "BEGIN"
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

    async fn is_in_transaction(&self, _session: &mut Session) -> Result<bool, DatabaseError> {
        // A procedure that would end the transaction of its caller is refused by PostgreSQL itself.
        Ok(true)
    }

    /// Another connection of the same account may end this one, whose statement may be busy for long.
    async fn stop(&self, session: Session) -> Option<Session> {
        let end = async {
            let mut other = PgConnection::connect_with(&self.options).await?;
            sqlx::query("SELECT pg_terminate_backend($1)")
                .bind(session.process)
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
        let wanted = (time + Duration::from_millis(500)).as_secs() as u128 * 1000 + 1000;
        if wanted != self.time_limit {
            sqlx::raw_sql(AssertSqlSafe(format!("SET statement_timeout = {wanted}")))
                .execute(&mut self.connection)
                .await
                .map_err(classify)?;
            self.time_limit = wanted;
        }
        Ok(())
    }
}

/// A statement with its values, each in the type that the server has for it.
fn query<'a>(
    statement: &Prepared,
    values: &[Cell],
) -> Result<Query<'a, Postgres, PgArguments>, DatabaseError> {
    let mut arguments = PgArguments::default();
    for (bind, of_type) in statement.binds.iter().zip(&statement.types) {
        let value = of_type.value(*bind, values);
        of_type.bind(&mut arguments, bind.value, value)?;
    }
    // The text is the integrator's and holds no value: parameters are bound.
    let text = AssertSqlSafe(Arc::clone(&statement.text));
    Ok(sqlx::query_with(text, arguments))
}

/// The generic plan of a statement, as steps of text.
async fn explain(
    session: &mut Session,
    statement: &Prepared,
) -> Result<Vec<String>, DatabaseError> {
    let nulls = vec!["NULL"; statement.parameters].join(", ");
    let nulls = match statement.parameters {
        0 => String::new(),
        _ => format!("({nulls})"),
    };
    // A name of our own that no statement of the driver has.
    let asked = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE lienthong AS {}\n; EXPLAIN (COSTS OFF) EXECUTE lienthong{nulls}; \
         DEALLOCATE lienthong; RESET plan_cache_mode",
        statement.text
    );
    let steps = sqlx::raw_sql(AssertSqlSafe(asked))
        .fetch_all(&mut session.connection)
        .await
        .map_err(classify)?;
    let step = |row: &PgRow| {
        let step: String = row.try_get(0).map_err(classify)?;
        Ok(step.trim_start_matches([' ', '-', '>']).to_owned())
    };
    steps.iter().map(step).collect()
}

fn unread_column(column: &PgColumn) -> String {
    let (name, of_type) = (column.name(), column.type_info().name().to_lowercase());
    format!(
        "the column {name} is of type {of_type}, which is not read; write CAST({name} AS text) AS {name}"
    )
}

/// Steps of a plan that change something or lock rows.
const WRITING_STEPS: [&str; 5] = [
    "Insert on",
    "Update on",
    "Delete on",
    "Merge on",
    "LockRows",
];

/// A step of PostgreSQL's plan, and what it costs.
fn in_words(step: String) -> String {
    match step.starts_with("Seq Scan") {
        true => format!("{step} (reads all of it)"),
        false => step,
    }
}

fn cells(row: &PgRow) -> Result<Vec<Cell>, DatabaseError> {
    (0..row.len())
        .map(|position| values::cell(&row.try_get_raw(position).map_err(classify)?))
        .collect()
}

/// What an error of the driver means for a caller; see https://www.postgresql.org/docs/current/errcodes-appendix.html.
fn classify(error: sqlx::Error) -> DatabaseError {
    let fault = match &error {
        sqlx::Error::Database(fault) => fault.try_downcast_ref::<PgDatabaseError>(),
        sqlx::Error::Io(fault) => return DatabaseError::of_network(fault),
        sqlx::Error::Tls(fault) => return DatabaseError::unknown_server(fault.to_string()),
        _ => None,
    };
    let Some(fault) = fault else {
        return DatabaseError::of_driver();
    };
    let detail = fault.message().to_owned();
    match fault.code() {
        "57014" => DatabaseError::Deadline,
        "55P03" | "40P01" | "40001" => DatabaseError::Locked,
        "53200" => DatabaseError::Memory,
        "42501" | "3D000" => DatabaseError::Denied { detail },
        "23505" | "23P01" => DatabaseError::Conflict { detail },
        // A value that a column cannot hold, where it is stored.
        "22001" | "22003" | "22007" | "22008" => DatabaseError::Constraint { detail },
        code if code.starts_with("23") => DatabaseError::Constraint { detail },
        // What a trigger or a procedure raises on purpose.
        "P0001" => DatabaseError::Constraint { detail },
        "XX001" | "XX002" => DatabaseError::Damaged { detail },
        code if code.starts_with("28") => DatabaseError::Denied { detail },
        code if ["08", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            DatabaseError::no_server(detail)
        }
        code => DatabaseError::Statement {
            engine: Engine::Postgresql.name(),
            code: code.to_owned(),
            detail,
        },
    }
}
