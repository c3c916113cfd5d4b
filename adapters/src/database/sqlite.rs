//! A file of SQLite, opened for reading only where methods only read.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Decode, Executor, Row, Sqlite,
    SqliteConnection, Statement as _, TypeInfo, ValueRef,
    query::Query,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow, SqliteSynchronous},
};

use super::{
    DatabaseError, Prepared, TableColumn,
    csv_folder::{CsvFolder, Loaded},
    pool::{Control, Driver, REST, Run},
};
use crate::{
    engine::Engine,
    field_type::Cell,
    statement::{Purpose, Statement},
};

mod catalogue;

/// Between two looks at the interrupt flag, SQLite runs this many instructions: far below 1 ms.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 2_000;

/// Rows that the driver holds ahead of ours, however large they are.
const DRIVER_ROWS_AHEAD: usize = 16;

/// The file, and how it is opened.
#[derive(Debug)]
pub(super) struct SqliteDriver {
    file: Origin,
    options: SqliteConnectOptions,
}

/// Where the file comes from.
#[derive(Debug)]
enum Origin {
    /// It is the register.
    Register(PathBuf),
    /// It is loaded from CSV files.
    Csv(Box<CsvFolder>),
}

/// One connection with the means to stop what it runs.
#[derive(Debug)]
pub(super) struct Session {
    connection: SqliteConnection,
    interrupted: Arc<AtomicBool>,
    file: Opened,
}

/// What a connection reads.
#[derive(Debug)]
enum Opened {
    /// The register as it was then.
    Register(FileIdentity),
    /// What was loaded, which stays for as long as somebody reads it.
    Csv(Arc<Loaded>),
}

/// Device and inode: a file put in the place of another is another database.
type FileIdentity = (u64, u64);

impl SqliteDriver {
    pub(super) fn new(
        path: PathBuf,
        memory_bytes: u64,
        lock_timeout: Duration,
        purpose: Purpose,
    ) -> Self {
        let options = Self::options(memory_bytes, lock_timeout, purpose);
        let file = Origin::Register(path);
        Self { file, options }
    }

    /// Over a folder of CSV files, which are only read.
    pub(super) fn over_csv(folder: CsvFolder, memory_bytes: u64, lock_timeout: Duration) -> Self {
        Self {
            options: Self::options(memory_bytes, lock_timeout, Purpose::Reading),
            file: Origin::Csv(Box::new(folder)),
        }
    }

    fn options(
        memory_bytes: u64,
        lock_timeout: Duration,
        purpose: Purpose,
    ) -> SqliteConnectOptions {
        // `mode=ro` is what forbids writing; query_only says it a second time, to every attached
        // or temporary database as well.
        let reads = purpose == Purpose::Reading;
        SqliteConnectOptions::new()
            .read_only(reads)
            .create_if_missing(false)
            .busy_timeout(lock_timeout)
            .row_buffer_size(DRIVER_ROWS_AHEAD)
            .pragma("query_only", if reads { "ON" } else { "OFF" })
            // What is committed is on the disk, its folder's entry included.
            .synchronous(SqliteSynchronous::Extra)
            .pragma("trusted_schema", "OFF")
            .pragma("hard_heap_limit", memory_bytes.to_string())
            .disable_statement_logging()
    }

    fn file_identity(path: &Path) -> Result<FileIdentity, DatabaseError> {
        let metadata = fs::metadata(path);
        let metadata = metadata.map_err(|error: io::Error| unavailable(error.to_string()))?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Driver for SqliteDriver {
    type Session = Session;

    async fn connect(&self) -> Result<Session, DatabaseError> {
        let (file, path) = match &self.file {
            Origin::Register(path) => (Opened::Register(Self::file_identity(path)?), path.clone()),
            Origin::Csv(folder) => {
                let loaded = folder.loaded()?;
                let path = loaded.database.to_path_buf();
                (Opened::Csv(loaded), path)
            }
        };
        let options = self.options.clone().filename(path);
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(classify)?;
        let encoding: String = sqlx::query_scalar("PRAGMA encoding")
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        if encoding != "UTF-8" {
            return Err(DatabaseError::Unsupported {
                what: format!("a SQLite database that keeps its text in {encoding}"),
                remedy: "only UTF-8 is",
            });
        }
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        connection
            .lock_handle()
            .await
            .map_err(classify)?
            .set_progress_handler(INSTRUCTIONS_BETWEEN_LOOKS, move || {
                !flag.load(Ordering::Relaxed)
            });
        Ok(Session {
            connection,
            interrupted,
            file,
        })
    }

    fn is_current(&self, session: &Session) -> bool {
        match (&self.file, &session.file) {
            (Origin::Register(path), Opened::Register(file)) => {
                Self::file_identity(path).is_ok_and(|now| now == *file)
            }
            (Origin::Csv(folder), Opened::Csv(loaded)) => folder.is_current(loaded),
            _ => false,
        }
    }

    async fn probe(&self, session: &mut Session) -> Result<(), DatabaseError> {
        let asked = sqlx::query("SELECT count(*) FROM sqlite_schema");
        let answered = asked.execute(&mut session.connection).await;
        answered.map(|_result| ()).map_err(classify)
    }

    /// The file itself is opened for reading only.
    async fn may_write(&self, _session: &mut Session) -> Result<Option<String>, DatabaseError> {
        Ok(None)
    }

    async fn prepare(
        &self,
        session: &mut Session,
        statement: &Statement,
    ) -> Result<Prepared, DatabaseError> {
        let text: Arc<str> = statement.for_sqlite().into();
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
        let unknown = parameters > statement.value_count();
        let fault = "the SQL text has parameters that are no request fields";
        // `Transaction` with a second operand of 1 opens a write transaction
        // (https://www.sqlite.org/opcode.html#Transaction).
        let program = sqlx::query(AssertSqlSafe(format!("EXPLAIN {text}")))
            .fetch_all(&mut session.connection)
            .await
            .map_err(classify)?;
        let mut writes = false;
        for instruction in program {
            let name: String = instruction.try_get("opcode").map_err(classify)?;
            let operand: i64 = instruction.try_get("p2").map_err(classify)?;
            writes |= name == "Transaction" && operand != 0;
        }
        Ok(Prepared {
            text,
            binds: Vec::new(),
            types: Vec::new(),
            columns,
            parameters,
            writes,
            faults: unknown.then(|| fault.to_owned()).into_iter().collect(),
        })
    }

    async fn plan(
        &self,
        session: &mut Session,
        statement: &Prepared,
        _values: Option<&[Cell]>,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        let asked = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.text));
        let steps = sqlx::query(asked)
            .fetch_all(&mut session.connection)
            .await
            .map_err(classify)?;
        let detail = |step: &SqliteRow| step.try_get("detail").map(in_words).map_err(classify);
        steps.iter().map(detail).collect::<Result<_, _>>().map(Some)
    }

    async fn run(&self, session: &mut Session, run: Run<'_>) -> Result<(), DatabaseError> {
        let query = query(run.statement, run.values)?;
        let rows = (&mut session.connection).fetch_many(query);
        run.rows.forward(rows, cells, classify).await
    }

    /// A statement that waits for a lock does so for `lock_timeout`; others cannot be stopped midway but by closing.
    async fn control(
        &self,
        session: &mut Session,
        control: Control,
        _time: Duration,
    ) -> Result<(), DatabaseError> {
        let sql = match control {
            // At once with the lock for writing, so that no two wait for each other in the middle.
            Control::Begin => "BEGIN IMMEDIATE",
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
        // Nothing but our own COMMIT ends one: a step is INSERT, UPDATE or DELETE.
        Ok(true)
    }

    async fn columns(
        &self,
        session: &mut Session,
        table: &str,
    ) -> Result<Vec<TableColumn>, DatabaseError> {
        catalogue::columns(session, table).await
    }

    async fn triggers(
        &self,
        session: &mut Session,
        table: &str,
        names: &[String],
    ) -> Result<Option<usize>, DatabaseError> {
        catalogue::triggers(session, table, names).await.map(Some)
    }

    async fn fault_of_numbers(
        &self,
        session: &mut Session,
        table: &str,
        column: &str,
    ) -> Result<Option<String>, DatabaseError> {
        catalogue::fault_of_numbers(session, table, column).await
    }

    async fn is_unique(
        &self,
        session: &mut Session,
        table: &str,
        columns: &[String],
    ) -> Result<bool, DatabaseError> {
        catalogue::is_unique(session, table, columns).await
    }

    async fn stop(&self, mut session: Session) -> Option<Session> {
        session.interrupted.store(true, Ordering::Relaxed);
        let rested = tokio::time::timeout(REST, session.connection.ping()).await;
        // One that does not rest is told to stop for as long as it runs.
        let Ok(Ok(())) = rested else {
            return None;
        };
        session.interrupted.store(false, Ordering::Relaxed);
        Some(session)
    }
}

/// A step of SQLite's plan (https://www.sqlite.org/eqp.html), and what it costs.
fn in_words(step: String) -> String {
    match step.starts_with("SCAN ") && step != "SCAN CONSTANT ROW" {
        true => format!("{step} (reads all of it)"),
        false => step,
    }
}

/// A statement with its values.
fn query<'a>(
    statement: &Prepared,
    values: &[Cell],
) -> Result<Query<'a, Sqlite, SqliteArguments>, DatabaseError> {
    // The text is the integrator's and holds no value: parameters are bound.
    let text = AssertSqlSafe(Arc::clone(&statement.text));
    Ok(sqlx::query_with(text, arguments(values)?))
}

fn arguments(values: &[Cell]) -> Result<SqliteArguments, DatabaseError> {
    use sqlx::Arguments as _;
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(number) => arguments.add(*number),
            Cell::Real(number) => arguments.add(*number),
            // Text of another encoding is bound as bytes, and cast to text by the statement.
            Cell::Text(text) | Cell::Decimal(text) => match str::from_utf8(text) {
                Ok(text) => arguments.add(text.to_owned()),
                Err(_not_utf8) => arguments.add(text.to_vec()),
            },
            Cell::Blob(bytes) => arguments.add(bytes.to_vec()),
        };
        added.map_err(|_unencodable| DatabaseError::of_driver())?;
    }
    Ok(arguments)
}

/// The cells of a row, copied out of SQLite's memory.
fn cells(row: &SqliteRow) -> Result<Vec<Cell>, DatabaseError> {
    let cell = |position| {
        let value = row.try_get_raw(position).map_err(classify)?;
        if value.is_null() {
            return Ok(Cell::Null);
        }
        let unreadable = |_| DatabaseError::of_driver();
        let storage = value.type_info().name().to_owned();
        Ok(match storage.as_str() {
            "INTEGER" => Cell::Integer(Decode::<Sqlite>::decode(value).map_err(unreadable)?),
            "REAL" => Cell::Real(Decode::<Sqlite>::decode(value).map_err(unreadable)?),
            "TEXT" => Cell::Text(bytes_of(value).map_err(unreadable)?),
            _ => Cell::Blob(bytes_of(value).map_err(unreadable)?),
        })
    };
    (0..row.len()).map(cell).collect()
}

/// The bytes as stored, text as well: its encoding is checked where the field is known.
fn bytes_of(value: sqlx::sqlite::SqliteValueRef<'_>) -> Result<Bytes, sqlx::error::BoxDynError> {
    <&[u8] as Decode<Sqlite>>::decode(value).map(Bytes::copy_from_slice)
}

/// What an error of the driver means for a caller; see https://www.sqlite.org/rescode.html.
fn classify(error: sqlx::Error) -> DatabaseError {
    let sqlx::Error::Database(fault) = &error else {
        return match error {
            sqlx::Error::Io(fault) => unavailable(fault.to_string()),
            _ => DatabaseError::of_driver(),
        };
    };
    let code = fault
        .code()
        .and_then(|code| i32::from_str(&code).ok())
        .unwrap_or(0);
    let detail = fault.message().to_owned();
    match code & 0xff {
        // SQLITE_READONLY_ROLLBACK: whoever was interrupted while writing must finish it.
        8 if code == 776 => unavailable(format!(
            "another program was interrupted while it wrote, and must open the file once more ({detail})"
        )),
        5 | 6 => DatabaseError::Locked,
        7 | 18 => DatabaseError::Memory,
        9 => DatabaseError::Deadline,
        10 | 14 | 23 => unavailable(detail),
        // SQLITE_CONSTRAINT_UNIQUE, _PRIMARYKEY, _ROWID.
        19 if matches!(code, 2067 | 1555 | 2579) => DatabaseError::Conflict { detail },
        19 => DatabaseError::Constraint { detail },
        11 | 26 => DatabaseError::Damaged { detail },
        _ => DatabaseError::Statement {
            engine: Engine::Sqlite.name(),
            code: code.to_string(),
            detail,
        },
    }
}

fn unavailable(detail: String) -> DatabaseError {
    DatabaseError::Unavailable {
        detail,
        remedy: "see that the file exists and that this program may read it (in WAL mode, also its -shm and -wal \
                 files)",
    }
}

#[cfg(test)]
mod tests;
