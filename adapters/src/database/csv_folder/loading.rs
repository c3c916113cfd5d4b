//! From CSV files to a private SQLite file, with bounds on what a record may take.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use csv::{ByteRecord, Reader, ReaderBuilder};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::{TempDir, TempPath};

use super::{DatabaseError, unreadable};

/// Files that are the same after so long are at rest; so the folder is not looked at more often.
pub(super) const AT_REST: Duration = Duration::from_secs(1);

/// The most columns of a file, and the most bytes of one field and of one record.
const MOST_COLUMNS: usize = 1_000;
const LONGEST_FIELD: usize = 1024 * 1024;
const LONGEST_RECORD: usize = 16 * 1024 * 1024;

/// The files, and how they are read.
#[derive(Debug)]
pub(super) struct Exports {
    pub(super) folder: PathBuf,
    delimiter: u8,
    indexes: Vec<(String, String)>,
    private: TempDir,
    numbers: AtomicU64,
    stopped: Arc<AtomicBool>,
}

/// A state of the folder, and the SQLite file that has it, which is removed with this.
#[derive(Debug)]
pub(in crate::database) struct Loaded {
    pub(super) files: Vec<File>,
    tables: Tables,
    pub(in crate::database) database: TempPath,
}

/// The names of tables, and of the columns of each.
type Tables = BTreeMap<String, Vec<String>>;

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    name: String,
    path: PathBuf,
    bytes: u64,
    changed: SystemTime,
}

/// A file of which one record at a time is read, up to its longest.
#[derive(Debug)]
struct Bounded {
    file: fs::File,
    left: usize,
}

impl Exports {
    pub(super) fn new(
        folder: &Path,
        delimiter: u8,
        indexes: Vec<(String, String)>,
        stopped: Arc<AtomicBool>,
    ) -> Result<Self, DatabaseError> {
        let private = TempDir::with_prefix("lienthong-csv-");
        Ok(Self {
            folder: folder.to_owned(),
            delimiter,
            indexes,
            private: private.map_err(|error| unreadable(folder, &error.to_string()))?,
            numbers: AtomicU64::new(0),
            stopped,
        })
    }

    /// The CSV files, in the order of their names.
    pub(super) fn files(&self) -> io::Result<Vec<File>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_csv = path
                .extension()
                .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let (true, Some(name)) = (is_csv, name.map(str::to_owned)) else {
                continue;
            };
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                // A link that leads nowhere, or a file that has just gone.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let reason = format!("{}: {error}", path.display());
                    return Err(io::Error::new(error.kind(), reason));
                }
            };
            // Opening a pipe would wait for whoever writes into it.
            if metadata.is_file() {
                files.push(File {
                    name,
                    path,
                    bytes: metadata.len(),
                    changed: metadata.modified()?,
                });
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    }

    /// Reads the files into a new SQLite file. What is written meanwhile makes it nothing.
    pub(super) async fn load(&self, files: Vec<File>) -> Result<Loaded, DatabaseError> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let database = self.private.path().join(format!("{number}.db"));
        let options = SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true)
            // Nobody else sees it before it is whole, and after a crash it is loaded again.
            .pragma("journal_mode", "OFF")
            .pragma("synchronous", "OFF");
        let failed = |error: &dyn std::error::Error| self.unreadable(&error.to_string());
        // From here on it is removed if anything fails.
        let database = TempPath::try_from_path(database).map_err(|error| failed(&error))?;
        let mut connection = SqliteConnection::connect_with(&options)
            .await
            .map_err(|error| failed(&error))?;
        let mut transaction = connection.begin().await.map_err(|error| failed(&error))?;
        let (mut tables, mut rows) = (Tables::new(), 0);
        for file in &files {
            // The names of SQLite have no case.
            if let Some(other) = tables
                .keys()
                .find(|name| name.eq_ignore_ascii_case(&file.name))
            {
                let reason = format!("{other}.csv and {}.csv would be one table", file.name);
                return Err(self.unreadable(&reason));
            }
            let (columns, more) = self.load_file(&mut transaction, file).await?;
            tables.insert(file.name.clone(), columns);
            rows += more;
        }
        for (position, (table, column)) in self.indexes.iter().enumerate() {
            // SQLite takes the name of a column that it does not have for a text.
            let columns = tables.get(table);
            if !columns.is_some_and(|columns| columns.contains(column)) {
                return Err(self.unreadable(&format!("there is no {table}.{column} for an index")));
            }
            let (table, column) = (quoted(table), quoted(column));
            let sql = format!("CREATE INDEX lienthong_{position} ON {table} ({column})");
            let made = sqlx::raw_sql(AssertSqlSafe(sql));
            made.execute(&mut *transaction)
                .await
                .map_err(|error| self.unreadable(&format!("no index on {column}: {error}")))?;
        }
        let committed = transaction.commit().await;
        committed.map_err(|error| failed(&error))?;
        connection.close().await.map_err(|error| failed(&error))?;
        // What was written while it was read may be half of it.
        let after = self.files().map_err(|error| failed(&error))?;
        if after != files {
            return Err(self.unreadable("files have changed while they were loaded"));
        }
        tracing::info!(files = files.len(), rows, "the CSV files are loaded");
        Ok(Loaded {
            files,
            tables,
            database,
        })
    }

    /// A table with the columns of the first line, all of them text as it is stored; its columns and how many rows it has.
    async fn load_file(
        &self,
        connection: &mut SqliteConnection,
        file: &File,
    ) -> Result<(Vec<String>, u64), DatabaseError> {
        let failed = |reason: String| unreadable(&file.path, &reason);
        let opened = fs::File::open(&file.path);
        let mut reader = ReaderBuilder::new()
            .delimiter(self.delimiter)
            .from_reader(Bounded {
                file: opened.map_err(|error| failed(error.to_string()))?,
                left: LONGEST_RECORD,
            });
        let names = column_names(&mut reader).map_err(failed)?;
        let table = quoted(&file.name);
        let columns: Vec<_> = names
            .iter()
            .map(|name| format!("{} TEXT", quoted(name)))
            .collect();
        let create = format!("CREATE TABLE {table} ({})", columns.join(", "));
        let created = sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut *connection)
            .await;
        created.map_err(|error| failed(without_names(&error)))?;
        let places = vec!["CAST(? AS TEXT)"; columns.len()].join(", ");
        let insert: Arc<str> = format!("INSERT INTO {table} VALUES ({places})").into();
        let mut record = ByteRecord::new();
        let mut rows = 0;
        loop {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(failed("nobody waits for it any more".to_owned()));
            }
            reader.get_mut().left = LONGEST_RECORD;
            // Says the line where something is wrong.
            let more = reader.read_byte_record(&mut record);
            if !more.map_err(|error| failed(error.to_string()))? {
                return Ok((names, rows));
            }
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&insert)));
            for field in &record {
                if field.len() > LONGEST_FIELD {
                    let line = record.position().map_or(0, csv::Position::line);
                    let bytes = field.len();
                    return Err(failed(format!("line {line} has a field of {bytes} bytes")));
                }
                query = query.bind(field.to_vec());
            }
            let inserted = query.execute(&mut *connection).await;
            inserted.map_err(|error| failed(error.to_string()))?;
            rows += 1;
        }
    }

    pub(super) fn unreadable(&self, reason: &str) -> DatabaseError {
        unreadable(&self.folder, reason)
    }
}

impl Loaded {
    /// What methods may ask for because it was there before, and is no more.
    pub(super) fn missing(&self, before: &Self) -> Option<String> {
        before.tables.iter().find_map(|(table, columns)| {
            let now = self.tables.get(table);
            let is_missing = |column: &&String| !now.is_some_and(|now| now.contains(column));
            let column = columns.iter().find(is_missing)?;
            Some(format!("{table}.{column}"))
        })
    }
}

impl File {
    /// Whether it may still be written; a time to come says nothing.
    pub(super) fn may_be_written(&self) -> bool {
        self.changed.elapsed().is_ok_and(|since| since < AT_REST)
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.left = self.left.checked_sub(read).ok_or_else(|| {
            io::Error::other(format!(
                "a record is longer than {LONGEST_RECORD} bytes; is a quotation mark never closed?"
            ))
        })?;
        Ok(read)
    }
}

/// The names in the first line. A file without that line has a record there: what is said of it repeats nothing of it.
fn column_names(reader: &mut Reader<Bounded>) -> Result<Vec<String>, String> {
    let header = reader.byte_headers().map_err(|error| error.to_string())?;
    if header.is_empty() || header.len() > MOST_COLUMNS {
        let found = header.len();
        return Err(format!(
            "the first line has {found} names; 1 to {MOST_COLUMNS} are allowed"
        ));
    }
    let mut names = Vec::with_capacity(header.len());
    let mut known = BTreeSet::new();
    for (position, name) in (1..).zip(header) {
        let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name);
        let name = str::from_utf8(name).map_err(|_| "a name in the first line is no UTF-8")?;
        let name = name.trim();
        // SQLite's names have no case.
        if !known.insert(name.to_ascii_lowercase()) {
            return Err(format!(
                "name {position} of the first line is there twice; is it a line of names?"
            ));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// What SQLite says of a table that it does not make, unless that is about its names.
fn without_names(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(fault) if fault.code().as_deref() == Some("1") => {
            "the first line is not one of names".to_owned()
        }
        other => other.to_string(),
    }
}

/// A name in SQL, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
