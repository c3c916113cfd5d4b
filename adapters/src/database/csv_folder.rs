//! A folder of CSV files as a database: each file a table, loaded into a private SQLite file and again when one has changed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use csv::{ByteRecord, ReaderBuilder};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::DatabaseError;

/// A file that was changed less than so long ago may still be written.
const AT_REST: Duration = Duration::from_secs(1);

/// The most columns of a file, and the most bytes of one field.
const MOST_COLUMNS: usize = 1_000;
const LONGEST_FIELD: usize = 1024 * 1024;

/// The folder, and what was loaded from it.
#[derive(Debug)]
pub(super) struct CsvFolder {
    folder: PathBuf,
    delimiter: u8,
    indexes: Vec<(String, String)>,
    private: TempDir,
    numbers: AtomicU64,
    loaded: ArcSwapOption<Loaded>,
    /// A state that could not be loaded: it is not tried again before it changes.
    refused: ArcSwapOption<Vec<File>>,
    loading: Mutex<()>,
}

/// A state of the folder and the SQLite file that has it.
#[derive(Debug)]
struct Loaded {
    files: Vec<File>,
    tables: Tables,
    database: PathBuf,
}

/// The names of tables, and of the columns of each.
type Tables = BTreeMap<String, Vec<String>>;

/// A file as it was when it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    name: String,
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

impl CsvFolder {
    pub(super) fn new(
        folder: &Path,
        delimiter: u8,
        indexes: Vec<(String, String)>,
    ) -> Result<Self, DatabaseError> {
        let private = TempDir::with_prefix("lienthong-csv-");
        Ok(Self {
            folder: folder.to_owned(),
            delimiter,
            indexes,
            private: private.map_err(|error| unreadable(folder, &error.to_string()))?,
            numbers: AtomicU64::new(0),
            loaded: ArcSwapOption::empty(),
            refused: ArcSwapOption::empty(),
            loading: Mutex::new(()),
        })
    }

    /// Whether what was loaded into this file is what the folder has now, as far as its files are at rest.
    pub(super) fn is_current(&self, database: &Path) -> bool {
        let loaded = self.loaded.load();
        let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.database == database) else {
            return false;
        };
        match self.files() {
            Ok(files) => self.need_not_be_loaded(&files, loaded),
            // Whoever asks for a new connection is told.
            Err(_unreadable) => false,
        }
    }

    /// The SQLite file with what the folder has now. A file that cannot be read leaves what was loaded before in force.
    pub(super) async fn database(&self) -> Result<PathBuf, DatabaseError> {
        let _one_at_a_time = self.loading.lock().await;
        let before = self.loaded.load_full();
        let files = self
            .files()
            .map_err(|error| unreadable(&self.folder, &error.to_string()))?;
        if let Some(before) = &before
            && self.need_not_be_loaded(&files, before)
        {
            return Ok(before.database.clone());
        }
        let loaded = self.load(files.clone()).await;
        let loaded = loaded.and_then(|loaded| self.has_all(loaded, before.as_deref()));
        match (loaded, before) {
            (Ok(loaded), before) => {
                let database = loaded.database.clone();
                self.loaded.store(Some(Arc::new(loaded)));
                if let Some(before) = before {
                    // Connections that still read it keep it until they are closed.
                    let _ = fs::remove_file(&before.database);
                }
                Ok(database)
            }
            (Err(error), Some(before)) => {
                self.refused.store(Some(Arc::new(files)));
                tracing::error!(reason = %error, "the CSV files are not loaded, those of before still are");
                Ok(before.database.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    /// What methods may ask for must still be there.
    fn has_all(&self, loaded: Loaded, before: Option<&Loaded>) -> Result<Loaded, DatabaseError> {
        for (table, columns) in before.into_iter().flat_map(|before| &before.tables) {
            let now = loaded.tables.get(table);
            let is_missing = |column: &&String| !now.is_some_and(|now| now.contains(column));
            if let Some(column) = columns.iter().find(is_missing) {
                let reason = format!("there is no {table}.{column} any more");
                return Err(unreadable(&self.folder, &reason));
            }
        }
        Ok(loaded)
    }

    fn need_not_be_loaded(&self, files: &Vec<File>, loaded: &Loaded) -> bool {
        let is_refused = self.refused.load().as_deref() == Some(files);
        *files == loaded.files || is_refused || !are_at_rest(files)
    }

    /// The CSV files, in the order of their names.
    fn files(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_csv = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
            let name = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned);
            let (true, Some(name)) = (is_csv, name) else {
                continue;
            };
            let metadata = fs::metadata(&path)?;
            files.push(File {
                name,
                path,
                bytes: metadata.len(),
                changed: metadata.modified()?,
            });
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    async fn load(&self, files: Vec<File>) -> Result<Loaded, DatabaseError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let database = self.private.path().join(format!("{number}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true)
            // Nobody else sees it before it is whole, and after a crash it is loaded again.
            .pragma("journal_mode", "OFF")
            .pragma("synchronous", "OFF");
        let failed = |error: sqlx::Error| unreadable(&self.folder, &error.to_string());
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        let mut tables = Tables::new();
        for file in &files {
            let columns = load_file(&mut transaction, file, self.delimiter).await?;
            tables.insert(file.name.clone(), columns);
        }
        for (position, (table, column)) in self.indexes.iter().enumerate() {
            // SQLite takes the name of a column that it does not have for a text.
            if !tables
                .get(table)
                .is_some_and(|columns| columns.contains(column))
            {
                let reason = format!("there is no {table}.{column} for an index");
                return Err(unreadable(&self.folder, &reason));
            }
            let (table, column) = (quoted(table), quoted(column));
            let sql = format!("CREATE INDEX lienthong_{position} ON {table} ({column})");
            let made = sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *transaction)
                .await;
            made.map_err(|error| {
                let reason = format!("no index on {table}.{column}: {error}");
                unreadable(&self.folder, &reason)
            })?;
        }
        transaction.commit().await.map_err(failed)?;
        connection.close().await.map_err(failed)?;
        // What was written meanwhile is loaded the next time.
        Ok(Loaded {
            files,
            tables,
            database,
        })
    }
}

/// A table with the columns of the first line, all of them text as it is stored.
async fn load_file(
    connection: &mut SqliteConnection,
    file: &File,
    delimiter: u8,
) -> Result<Vec<String>, DatabaseError> {
    let failed = |reason: String| unreadable(&file.path, &reason);
    let opened = ReaderBuilder::new()
        .delimiter(delimiter)
        .from_path(&file.path);
    let mut reader = opened.map_err(|error| failed(error.to_string()))?;
    let header = reader
        .byte_headers()
        .map_err(|error| failed(error.to_string()))?
        .clone();
    let without_mark = |name: &[u8]| name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name).to_vec();
    let names = header
        .iter()
        .map(|name| String::from_utf8(without_mark(name)));
    let names: Result<Vec<String>, _> = names
        .map(|name| name.map(|name| name.trim().to_owned()))
        .collect();
    let names = names.map_err(|_| failed("a name in the first line is no UTF-8".to_owned()))?;
    if names.is_empty() || names.len() > MOST_COLUMNS {
        return Err(failed(format!(
            "the first line has {} names; 1 to {MOST_COLUMNS} are allowed",
            names.len()
        )));
    }
    let columns: Vec<_> = names.iter().map(|name| quoted(name)).collect();
    let table = quoted(&file.name);
    let create = format!(
        "CREATE TABLE {table} ({})",
        columns.join(" TEXT, ") + " TEXT"
    );
    let created = sqlx::raw_sql(AssertSqlSafe(create))
        .execute(&mut *connection)
        .await;
    created.map_err(|error| failed(error.to_string()))?;
    let places = vec!["CAST(? AS TEXT)"; columns.len()].join(", ");
    let insert: Arc<str> = format!("INSERT INTO {table} VALUES ({places})").into();
    let mut record = ByteRecord::new();
    loop {
        // Says the line where something is wrong.
        let more = reader
            .read_byte_record(&mut record)
            .map_err(|error| failed(error.to_string()))?;
        if !more {
            return Ok(names);
        }
        let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&insert)));
        for field in &record {
            if field.len() > LONGEST_FIELD {
                let line = record.position().map_or(0, csv::Position::line);
                return Err(failed(format!(
                    "line {line} has a field of {} bytes",
                    field.len()
                )));
            }
            query = query.bind(field.to_vec());
        }
        let inserted = query.execute(&mut *connection).await;
        inserted.map_err(|error| failed(error.to_string()))?;
    }
}

/// A name in SQL, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn are_at_rest(files: &[File]) -> bool {
    let is_at_rest = |file: &File| file.changed.elapsed().is_ok_and(|since| since >= AT_REST);
    files.iter().all(is_at_rest)
}

fn unreadable(path: &Path, reason: &str) -> DatabaseError {
    DatabaseError::Unavailable {
        detail: format!("{}: {reason}", path.display()),
        remedy: "see that the folder and its CSV files are there and can be read; put a new file in place by renaming it",
    }
}
