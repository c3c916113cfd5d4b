//! A folder of CSV files as a database: each file a table, loaded into a private SQLite file and again when one has changed.
//!
//! Calls never wait for it: what was loaded before is served while a task of its own looks and loads.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, sleep},
};

use super::DatabaseError;

mod loading;

pub(super) use loading::Loaded;
use loading::{AT_REST, Exports, File};

/// How many looks the files have to come to rest when the adapter starts.
const PATIENCE: usize = 60;

/// After so long what could not be loaded is tried again, since that may have been for want of room.
const AGAIN: Duration = Duration::from_secs(60);

/// The folder, and what was loaded from it.
#[derive(Debug)]
pub(super) struct CsvFolder {
    state: Arc<State>,
    watching: AbortHandle,
    _stopping: Stopping,
}

#[derive(Debug)]
struct State {
    loaded: ArcSwap<Loaded>,
    /// Why the folder cannot be looked at; none while it can.
    gone: ArcSwapOption<String>,
}

/// Ends a load that nobody waits for any more.
#[derive(Debug)]
struct Stopping(Arc<AtomicBool>);

/// What a look at the folder has found.
enum Found {
    /// Nothing to load.
    Nothing,
    New(Loaded),
    /// Another state than before, which may still be changing.
    Moving(Vec<File>),
    /// A state that cannot be loaded.
    Wrong(Vec<File>, DatabaseError),
    /// The folder cannot be looked at.
    Gone(String),
}

impl CsvFolder {
    /// Loads the folder for the first time, however long that takes, and looks at it from then on.
    pub(super) async fn open(
        folder: &Path,
        delimiter: u8,
        indexes: Vec<(String, String)>,
    ) -> Result<Self, DatabaseError> {
        let stopping = Stopping(Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stopping.0);
        let exports = Arc::new(Exports::new(folder, delimiter, indexes, stopped)?);
        let mut first = None;
        for _ in 0..PATIENCE {
            let looked = Arc::clone(&exports);
            first = apart(move || load_first(&looked)).await??;
            if first.is_some() {
                break;
            }
            sleep(AT_REST).await;
        }
        let first = first.ok_or_else(|| exports.unreadable("its files are still being written"))?;
        let state = Arc::new(State {
            loaded: ArcSwap::from_pointee(first),
            gone: ArcSwapOption::empty(),
        });
        let watching = tokio::spawn(watch(exports, Arc::clone(&state)));
        Ok(Self {
            state,
            watching: watching.abort_handle(),
            _stopping: stopping,
        })
    }

    /// What is served now.
    pub(super) fn loaded(&self) -> Result<Arc<Loaded>, DatabaseError> {
        match &*self.state.gone.load() {
            None => Ok(self.state.loaded.load_full()),
            Some(detail) => Err(DatabaseError::Unavailable {
                detail: detail.to_string(),
                remedy: REMEDY,
            }),
        }
    }

    /// Whether this is what is served now.
    pub(super) fn is_current(&self, loaded: &Arc<Loaded>) -> bool {
        self.loaded().is_ok_and(|now| Arc::ptr_eq(&now, loaded))
    }
}

impl Drop for CsvFolder {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at the folder again and again, and puts what it loads in the place of what was loaded before.
async fn watch(exports: Arc<Exports>, state: Arc<State>) {
    let mut due = interval(AT_REST);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut seen, mut wrong): (Option<Vec<File>>, Option<Wrong>) = (None, None);
    loop {
        due.tick().await;
        let (exports, before) = (Arc::clone(&exports), state.loaded.load_full());
        let (last, known) = (seen.take(), wrong.clone());
        let found = apart(move || look(&exports, &before, last, known)).await;
        let gone = match found {
            Ok(Found::Gone(detail)) => Some(detail),
            Ok(Found::New(loaded)) => {
                state.loaded.store(Arc::new(loaded));
                None
            }
            Ok(Found::Moving(files)) => {
                seen = Some(files);
                None
            }
            Ok(Found::Wrong(files, reason)) => {
                tracing::error!(%reason, "the CSV files are not loaded, those of before still are");
                wrong = Some((files, Instant::now()));
                None
            }
            Ok(Found::Nothing) => None,
            Err(error) => Some(error.to_string()),
        };
        // Said when it is so already.
        let was_gone = state.gone.swap(gone.clone().map(Arc::new)).is_some();
        if let Some(reason) = gone.filter(|_| !was_gone) {
            tracing::error!(%reason, "the folder of CSV files cannot be looked at");
        }
    }
}

/// A state that could not be loaded, and when that was tried.
type Wrong = (Vec<File>, Instant);

/// Loads the files, if they are at rest.
fn load_first(exports: &Exports) -> Result<Option<Loaded>, DatabaseError> {
    let files = exports.files();
    let files = files.map_err(|error| exports.unreadable(&error.to_string()))?;
    if files.iter().any(File::may_be_written) {
        return Ok(None);
    }
    match Handle::current().block_on(exports.load(files.clone())) {
        // It has run into a change.
        Err(_) if exports.files().is_ok_and(|now| now != files) => Ok(None),
        loaded => loaded.map(Some),
    }
}

fn look(
    exports: &Exports,
    before: &Loaded,
    last: Option<Vec<File>>,
    wrong: Option<Wrong>,
) -> Found {
    let files = match exports.files() {
        Ok(files) => files,
        Err(error) => return Found::Gone(format!("{}: {error}", exports.folder.display())),
    };
    let is_wrong = |(known, at): &Wrong| *known == files && at.elapsed() < AGAIN;
    if files == before.files || wrong.as_ref().is_some_and(is_wrong) {
        return Found::Nothing;
    }
    if last.as_ref() != Some(&files) {
        return Found::Moving(files);
    }
    let loaded = Handle::current().block_on(exports.load(files.clone()));
    let complete = loaded.and_then(|loaded| match loaded.missing(before) {
        None => Ok(loaded),
        Some(missing) => Err(exports.unreadable(&format!("there is no {missing} any more"))),
    });
    match complete {
        Ok(loaded) => Found::New(loaded),
        Err(_) if exports.files().is_ok_and(|now| now != files) => Found::Nothing,
        Err(reason) => Found::Wrong(files, reason),
    }
}

/// Files may take their time: not on a thread that calls need.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DatabaseError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_stopped| DatabaseError::Stopped {
        detail: "loading the CSV files ended without a word",
    })
}

const REMEDY: &str = "see that the folder and its CSV files are there and can be read; put a new file in place by renaming it";

fn unreadable(path: &Path, reason: &str) -> DatabaseError {
    DatabaseError::Unavailable {
        detail: format!("{}: {reason}", path.display()),
        remedy: REMEDY,
    }
}
