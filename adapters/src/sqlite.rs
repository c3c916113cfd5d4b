//! The SQLite database, opened for reading only: statements described, and rows as a stream.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Connection, Decode, Executor, Row, Sqlite,
    SqliteConnection, Statement as _, TypeInfo, ValueRef,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{configuration::DatabaseSettings, field_type::Cell, statement::Statement};

mod rows;

pub use rows::Rows;

/// Between two looks at the interrupt flag, SQLite runs this many instructions: far below 1 ms.
const INSTRUCTIONS_BETWEEN_LOOKS: i32 = 2_000;

/// Rows that wait between SQLite's thread and ours; small, since a row may be large.
const ROWS_AHEAD: usize = 16;

/// How long a connection may take to come to rest after its call has ended.
const REST: Duration = Duration::from_secs(5);

/// A SQLite file and the connections that read it.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    options: SqliteConnectOptions,
    idle: Mutex<Vec<Reader>>,
    connections: Arc<Semaphore>,
}

/// What went wrong in the database; never a value of it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file is not there, or cannot be read.
    #[error(
        "the database cannot be opened or read: {detail}; see that the file exists and that \
             this program may read it (in WAL mode, also its -shm and -wal files)"
    )]
    Unavailable {
        /// What SQLite or the system said.
        detail: String,
    },
    /// Another program holds a lock for longer than `lock_timeout`.
    #[error("another program holds a lock on the database; try again, or raise lock_timeout")]
    Locked,
    /// The call's time is over.
    #[error("the statement did not end within its time")]
    Deadline,
    /// SQLite asked for more memory than `memory_bytes`.
    #[error("the statement needs more memory than memory_bytes allows")]
    Memory,
    /// The file is not a database, or a damaged one.
    #[error("the file is no SQLite database, or a damaged one: {detail}")]
    Damaged {
        /// What SQLite said.
        detail: String,
    },
    /// The text of the database is not in UTF-8.
    #[error("the database keeps its text in {encoding}; only UTF-8 is read")]
    Encoding {
        /// What `PRAGMA encoding` says.
        encoding: String,
    },
    /// SQLite refuses the statement.
    #[error("SQLite refuses the statement (code {code}): {detail}")]
    Statement {
        /// SQLite's extended result code.
        code: i32,
        /// SQLite's message, which may repeat parameters: for `check`, never for a call.
        detail: String,
    },
    /// The thread that reads the database ended.
    #[error("reading the database stopped without an answer")]
    Stopped,
}

/// What SQLite says about a statement without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The names of its columns, in order.
    pub columns: Vec<String>,
    /// How many parameters it binds.
    pub parameters: usize,
    /// Whether its program would open a transaction for writing.
    pub writes: bool,
}

/// One connection with the means to stop what it runs.
#[derive(Debug)]
struct Reader {
    connection: SqliteConnection,
    interrupted: Arc<AtomicBool>,
    file: FileIdentity,
    permit: Option<OwnedSemaphorePermit>,
}

/// Device and inode: a file put in the place of another is another database.
type FileIdentity = (u64, u64);

impl Database {
    /// Opens the file and proves that it is a readable database.
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, DatabaseError> {
        // `mode=ro` is what forbids writing; query_only says it a second time, to every attached
        // or temporary database as well.
        let options = SqliteConnectOptions::new()
            .filename(&settings.sqlite)
            .read_only(true)
            .create_if_missing(false)
            .busy_timeout(settings.lock_timeout)
            .row_buffer_size(ROWS_AHEAD)
            .pragma("query_only", "ON")
            .pragma("trusted_schema", "OFF")
            .pragma("hard_heap_limit", settings.memory_bytes.to_string())
            .disable_statement_logging();
        let database = Self {
            path: settings.sqlite.clone(),
            options,
            idle: Mutex::new(Vec::new()),
            connections: Arc::new(Semaphore::new(settings.connections)),
        };
        database.probe().await?;
        Ok(database)
    }

    /// Proves that the database answers now.
    pub async fn probe(&self) -> Result<(), DatabaseError> {
        let mut reader = self.reader().await?;
        sqlx::query("SELECT count(*) FROM sqlite_schema")
            .execute(&mut reader.connection)
            .await
            .map_err(classify)?;
        self.put_back(reader);
        Ok(())
    }

    /// Prepares a statement without running it.
    pub async fn describe(&self, statement: &Statement) -> Result<Description, DatabaseError> {
        let mut reader = self.reader().await?;
        // The text is the integrator's and holds no value: parameters are bound.
        let sql = AssertSqlSafe(Arc::clone(&statement.text));
        let prepared = (&mut reader.connection)
            .prepare(sqlx::SqlSafeStr::into_sql_str(sql))
            .await
            .map_err(classify)?;
        let columns = prepared
            .columns()
            .iter()
            .map(|column| column.name().to_owned())
            .collect();
        let parameters = prepared
            .parameters()
            .and_then(|found| found.right())
            .unwrap_or(0);
        // `Transaction` with a second operand of 1 opens a write transaction
        // (https://www.sqlite.org/opcode.html#Transaction).
        let program = sqlx::query(AssertSqlSafe(format!("EXPLAIN {}", statement.text)))
            .fetch_all(&mut reader.connection)
            .await
            .map_err(classify)?;
        let mut writes = false;
        for instruction in program {
            let name: String = instruction.try_get("opcode").map_err(classify)?;
            let operand: i64 = instruction.try_get("p2").map_err(classify)?;
            writes |= name == "Transaction" && operand != 0;
        }
        self.put_back(reader);
        Ok(Description {
            columns,
            parameters,
            writes,
        })
    }

    /// How SQLite would look for the rows of a statement, step by step.
    pub async fn plan(&self, statement: &Statement) -> Result<Vec<String>, DatabaseError> {
        let mut reader = self.reader().await?;
        let asked = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.text));
        let steps = sqlx::query(asked)
            .fetch_all(&mut reader.connection)
            .await
            .map_err(classify)?;
        self.put_back(reader);
        let detail = |step: &SqliteRow| step.try_get("detail").map_err(classify);
        steps.iter().map(detail).collect()
    }

    /// A connection to the file that is at the path now.
    async fn reader(&self) -> Result<Reader, DatabaseError> {
        let permit = Arc::clone(&self.connections)
            .acquire_owned()
            .await
            .map_err(|_closed| DatabaseError::Stopped)?;
        let file = self.file_identity()?;
        while let Some(mut reader) = self.take_idle() {
            if reader.file == file {
                reader.permit = Some(permit);
                return Ok(reader);
            }
        }
        Reader::open(&self.options, file, permit).await
    }

    /// Only a connection that is at rest comes back; one that failed is dropped instead.
    fn put_back(&self, mut reader: Reader) {
        let permit = reader.permit.take();
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(reader);
        drop(permit);
    }

    fn take_idle(&self) -> Option<Reader> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    fn file_identity(&self) -> Result<FileIdentity, DatabaseError> {
        let metadata =
            fs::metadata(&self.path).map_err(|error: io::Error| DatabaseError::Unavailable {
                detail: error.to_string(),
            })?;
        Ok((metadata.dev(), metadata.ino()))
    }
}

impl Reader {
    async fn open(
        options: &SqliteConnectOptions,
        file: FileIdentity,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, DatabaseError> {
        let mut connection = SqliteConnection::connect_with(options)
            .await
            .map_err(classify)?;
        let encoding: String = sqlx::query_scalar("PRAGMA encoding")
            .fetch_one(&mut connection)
            .await
            .map_err(classify)?;
        if encoding != "UTF-8" {
            return Err(DatabaseError::Encoding { encoding });
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
        Ok(Self {
            connection,
            interrupted,
            file,
            permit: Some(permit),
        })
    }

    /// Stops whatever still runs; true once the connection is ready for another call.
    async fn come_to_rest(&mut self) -> bool {
        self.interrupted.store(true, Ordering::Relaxed);
        let rested = tokio::time::timeout(REST, self.connection.ping()).await;
        self.interrupted.store(false, Ordering::Relaxed);
        matches!(rested, Ok(Ok(())))
    }
}

fn arguments(cells: Vec<Cell>) -> Result<SqliteArguments, DatabaseError> {
    use sqlx::Arguments as _;
    let mut arguments = SqliteArguments::default();
    for cell in cells {
        let added = match cell {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(number) => arguments.add(number),
            Cell::Real(number) => arguments.add(number),
            // Text of another encoding is bound as bytes, and cast to text by the statement.
            Cell::Text(text) => match String::from_utf8(text.into()) {
                Ok(text) => arguments.add(text),
                Err(bytes) => arguments.add(bytes.into_bytes()),
            },
            Cell::Blob(bytes) => arguments.add(Vec::from(bytes)),
        };
        added.map_err(|_unencodable| DatabaseError::Stopped)?;
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
        let unreadable = |_| DatabaseError::Stopped;
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
            sqlx::Error::Io(fault) => DatabaseError::Unavailable {
                detail: fault.to_string(),
            },
            _ => DatabaseError::Stopped,
        };
    };
    let code = fault
        .code()
        .and_then(|code| i32::from_str(&code).ok())
        .unwrap_or(0);
    let detail = fault.message().to_owned();
    match code & 0xff {
        5 | 6 => DatabaseError::Locked,
        7 | 18 => DatabaseError::Memory,
        9 => DatabaseError::Deadline,
        10 | 14 | 23 => DatabaseError::Unavailable { detail },
        11 | 26 => DatabaseError::Damaged { detail },
        _ => DatabaseError::Statement { code, detail },
    }
}

#[cfg(test)]
mod tests;
