//! What the writer, the readers and the checkpoints of one open log share.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;
use trust::{Digest, merkle::Frontier};

use crate::{
    error::{AppendError, Error},
    files::{Identity, Reserve},
    flat::{FlatView, PLACES},
    options::Options,
    storage::Storage,
    walk::{Step, Walk},
};

/// A file among the views which says that they must be made again.
pub(crate) const UNUSABLE: &str = "unusable";

pub(crate) struct Shared {
    pub(crate) storage: Arc<Storage>,
    pub(crate) identity: Identity,
    pub(crate) options: Options,
    pub(crate) reserve: Reserve,
    views: PathBuf,
    pub(crate) flat: FlatView,
    /// Held by whoever erases contents; what was recorded and is not zeroed yet.
    pub(crate) erasing: tokio::sync::Mutex<Option<(u64, u64)>>,
    /// Held while contents are zeroed and while they are read; counts how often they were.
    pub(crate) zeroing: Mutex<u64>,
    /// Ranges of records whose contents were destroyed, as far as they were asked for.
    pub(crate) erased: Mutex<Vec<(u64, u64)>>,
    /// The tree over the synced records; the flat views cover at least these.
    synced: Mutex<Frontier>,
    /// Why the views are not usable, once they are not.
    view_failure: OnceLock<String>,
    failure: watch::Sender<Option<Arc<Error>>>,
    /// The index of the first record of the batch that is being written, while one is.
    writing: watch::Sender<Option<u64>>,
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<Storage>,
        identity: Identity,
        options: Options,
        views: (PathBuf, FlatView),
        frontier: Frontier,
    ) -> Self {
        Self {
            storage,
            identity,
            reserve: Reserve::new(options.reserve_size),
            options,
            views: views.0,
            flat: views.1,
            erasing: tokio::sync::Mutex::default(),
            zeroing: Mutex::default(),
            erased: Mutex::default(),
            synced: Mutex::new(frontier),
            view_failure: OnceLock::new(),
            failure: watch::Sender::new(None),
            writing: watch::Sender::new(None),
        }
    }

    /// The next step of a walk over a log in which contents may be erased meanwhile.
    pub(crate) fn step(&self, walk: &mut Walk) -> Result<Step, Error> {
        let zeroed = locked(&self.zeroing);
        walk.forget_before(*zeroed);
        walk.step()
    }

    /// The size and root of the synced log.
    pub(crate) fn state(&self) -> (u64, Digest) {
        let synced = locked(&self.synced);
        (synced.size(), synced.root())
    }

    /// The tree over the synced log.
    pub(crate) fn tree(&self) -> Frontier {
        locked(&self.synced).clone()
    }

    pub(crate) fn size(&self) -> u64 {
        locked(&self.synced).size()
    }

    pub(crate) fn publish(&self, frontier: &Frontier) {
        locked(&self.synced).clone_from(frontier);
    }

    pub(crate) fn failure(&self) -> &watch::Sender<Option<Arc<Error>>> {
        &self.failure
    }

    /// Which batch is being written.
    pub(crate) const fn writing(&self) -> &watch::Sender<Option<u64>> {
        &self.writing
    }

    /// Ends all appending; the first failure stays the one that is told.
    pub(crate) fn fail(&self, error: Error) -> Arc<Error> {
        let error = Arc::new(error);
        let mut first = Arc::clone(&error);
        self.failure.send_if_modified(|failure| match failure {
            Some(earlier) => {
                first = Arc::clone(earlier);
                false
            }
            None => {
                *failure = Some(error);
                true
            }
        });
        first
    }

    pub(crate) fn must_not_have_failed(&self) -> Result<(), Arc<Error>> {
        self.failure.borrow().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn refused_by_failure(&self) -> AppendError {
        match self.must_not_have_failed() {
            Ok(()) => AppendError::Closed,
            Err(error) => AppendError::Failed(error),
        }
    }

    pub(crate) fn views_must_be_usable(&self) -> Result<(), Error> {
        match self.view_failure.get() {
            None => Ok(()),
            Some(reason) => Err(Error::View(reason.clone())),
        }
    }

    /// The log goes on without its views.
    pub(crate) fn fail_views(&self, reason: String) -> Error {
        let first = self.view_failure.get_or_init(|| {
            tracing::error!(%reason, "the views of the log are not usable until it is opened again");
            // On a full disk there is no room for a mark, but something can always be removed. If even
            // this fails, the next opening believes the views as far as it verifies them.
            let marked = std::fs::write(self.views.join(UNUSABLE), &reason)
                .or_else(|_| std::fs::remove_file(self.views.join(PLACES)));
            if let Err(error) = marked {
                tracing::error!(%error, "the views cannot be marked as not usable");
            }
            reason
        });
        Error::View(first.clone())
    }
}

/// The value behind a lock; a thread that panicked cannot have left it half changed.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
