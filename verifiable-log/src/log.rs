//! The log as its owner holds it: create, open, append, checkpoint.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use aws_lc_rs::signature::Ed25519KeyPair;
use durable::{FileSystem, Posix};
use trust::{
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    merkle::Frontier,
};

use crate::{
    error::{AppendError, Error},
    files,
    opening::{self, Progress},
    options::Options,
    queue::{Queue, queue},
    record::{Receipt, Record},
    shared::{Shared, locked},
    storage::Storage,
    waiting::{Frame, Told, length_of_frames},
    writer::{MAX_RECORDS, MAX_TOGETHER},
};

/// An open log with its one writer. Closed when dropped, after all that waits is written.
pub struct Log {
    shared: Arc<Shared>,
    queue: Option<Queue>,
    writer: Option<JoinHandle<()>>,
    checkpoint: Mutex<Last>,
}

/// The last checkpoint, and a tree that is known to extend it: when the log was opened, all that
/// was read after the checkpoint; since then, what was signed.
struct Last {
    signed: Option<SignedCheckpoint>,
    tree: Frontier,
}

impl Log {
    /// Makes a new, empty log in a folder that does not hold one. Blocks on files.
    ///
    /// # Errors
    /// When there is something in the way, or the file system fails.
    pub fn create(folder: &Path, origin: &Origin, options: &Options) -> Result<(), Error> {
        durable::make_folder(&Posix, folder).map_err(opening_folder(folder))?;
        let storage = Storage::lock(folder).map_err(opening_folder(folder))?;
        Self::create_in(&storage, origin, options)
    }

    /// The same in any storage.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_in(storage: &Storage, origin: &Origin, options: &Options) -> Result<(), Error> {
        opening::create(storage, origin, options)
    }

    /// Opens a log: verifies its end, cuts and records what a crash has torn, repairs the views.
    /// Blocks on files; tells its progress when much must be read.
    ///
    /// # Errors
    /// When there is no log or another process has it, when it is damaged, and when the stored
    /// checkpoint has records that the log has not.
    pub fn open(
        folder: &Path,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        Self::open_on(Arc::new(Posix), folder, options, progress)
    }

    /// The same with the files of another file system; lock and views are of this machine.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_on(
        files: Arc<dyn FileSystem>,
        folder: &Path,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let storage = Storage::lock_on(files, folder).map_err(opening_folder(folder))?;
        Self::open_in(Arc::new(storage), &folder.join("views"), options, progress)
    }

    /// The same in any storage; the views are in a folder of the file system.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(
        storage: Arc<Storage>,
        views: &Path,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let opened = opening::open(storage, views, options, progress)?;
        let (queue, arrivals) = queue(&opened.shared.options);
        let writer = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || opened.writer.run(arrivals))
            .map_err(Error::storage("starting the writer"))?;
        Ok(Self {
            shared: opened.shared,
            queue: Some(queue),
            writer: Some(writer),
            checkpoint: Mutex::new(Last {
                signed: opened.checkpoint,
                tree: opened.tree,
            }),
        })
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.shared.identity.origin
    }

    /// How many records are on disk.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.shared.size()
    }

    /// Appends a record. The receipt comes when the record is on disk. If the caller stops
    /// waiting, the record may be appended all the same.
    ///
    /// # Errors
    /// When the record is refused, or the log has failed.
    pub async fn append(&self, record: Record) -> Result<Receipt, AppendError> {
        self.append_one(record, false).await
    }

    /// Appends a record that ends something, even when the disk is full: the log holds space for
    /// these. For closing records only.
    ///
    /// # Errors
    /// When the record is refused, also because the reserve is used up, or the log has failed.
    pub async fn append_reserved(&self, record: Record) -> Result<Receipt, AppendError> {
        self.append_one(record, true).await
    }

    /// Appends records next to each other in one batch. All receipts come after one sync. After a
    /// crash before that, the first few of them may be in the log without the others.
    ///
    /// # Errors
    /// When one of them is refused (then none is appended), or the log has failed.
    pub async fn append_all(&self, records: Vec<Record>) -> Result<Vec<Receipt>, AppendError> {
        self.append_together(records, false).await
    }

    async fn append_one(&self, record: Record, reserved: bool) -> Result<Receipt, AppendError> {
        let receipts = self.append_together(vec![record], reserved).await?;
        receipts.into_iter().next().ok_or(AppendError::Closed)
    }

    async fn append_together(
        &self,
        records: Vec<Record>,
        reserved: bool,
    ) -> Result<Vec<Receipt>, AppendError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let frames = self.prepare(records)?;
        must_fit("a batch", length_of_frames(&frames), MAX_TOGETHER)?;
        self.shared
            .must_not_have_failed()
            .map_err(AppendError::Failed)?;
        let queue = self.queue.as_ref().ok_or(AppendError::Closed)?;
        let answer = queue.put(frames, reserved).await;
        match answer.ok_or(AppendError::Closed)?.await {
            Ok(told) => told.map(|Told { receipts, others }| {
                drop(others);
                receipts
            }),
            // Everybody is answered, unless the writer has failed or panics.
            Err(_) => Err(AppendError::Failed(self.shared.fail(Error::WriterStopped))),
        }
    }

    fn prepare(&self, records: Vec<Record>) -> Result<Vec<Frame>, AppendError> {
        must_fit(
            "the number of records",
            records.len() as u64,
            MAX_RECORDS as u64,
        )?;
        // A record whose leaf comes out differently when it is read would make the log unreadable.
        // That is a mistake in the program, so tests look for it and releases do not pay for it.
        if cfg!(debug_assertions) {
            for record in &records {
                let read = (self.shared.options.leaf_of)(&record.kept)
                    .map_err(|invalid| AppendError::Leaf(invalid.0))?;
                if read != record.leaf_preimage() {
                    return Err(AppendError::Leaf("its digests are others".to_owned()));
                }
            }
        }
        records.into_iter().map(Frame::of).collect()
    }

    /// While a batch is being written: the end of that. What is appended before it could not be
    /// written earlier.
    #[must_use]
    pub fn writing(&self) -> Option<impl Future<Output = ()> + use<>> {
        let batch = *self.shared.writing().borrow();
        let mut writing = batch.map(|_| self.shared.writing().subscribe())?;
        Some(async move {
            // The sender lives as long as the log.
            let _ = writing.wait_for(|now| *now != batch).await;
        })
    }

    /// Waits until the log has failed; the owner then stops.
    pub async fn failed(&self) -> Arc<Error> {
        loop {
            let mut failure = self.shared.failure().subscribe();
            // The sender lives as long as the log, so this ends only with a failure.
            if let Ok(Some(error)) = failure.wait_for(Option::is_some).await.as_deref() {
                return Arc::clone(error);
            }
        }
    }

    /// Signs the synced log, keeps the checkpoint and returns it; the last one if nothing was
    /// appended since. When no view proves that it extends the last one, what was appended since
    /// is read again. Blocks on files.
    ///
    /// # Errors
    /// When it would not extend the last one or the log is damaged (the log has then failed), or
    /// when it cannot be proven now or cannot be kept.
    pub fn checkpoint(&self, key: &Ed25519KeyPair) -> Result<SignedCheckpoint, Error> {
        let mut last = locked(&self.checkpoint);
        self.shared.must_not_have_failed().map_err(Error::Failed)?;
        let tree = self.shared.tree();
        let (size, root) = (tree.size(), tree.root());
        if let Some(signed) = &last.signed {
            let of_last = signed.unverified();
            let is_current = of_last.size == size && of_last.root == root;
            let is_ours =
                LogKey::of(key).is_some_and(|public| signed.verify(self.origin(), &public).is_ok());
            if is_current && is_ours {
                return Ok(signed.clone());
            }
            self.must_extend(of_last, &last.tree, &tree)?;
        }
        let origin = self.origin().clone();
        let signed = Checkpoint { origin, size, root }.sign(key);
        let storage = &self.shared.storage;
        self.shared
            .reserve
            .draw(storage, || files::write_checkpoint(storage, &signed))?;
        *last = Last {
            signed: Some(signed.clone()),
            tree,
        };
        Ok(signed)
    }

    /// The last checkpoint that was signed.
    #[must_use]
    pub fn last_checkpoint(&self) -> Option<SignedCheckpoint> {
        locked(&self.checkpoint).signed.clone()
    }

    /// Views are derived: that they prove nothing says nothing about the log. Only its segments
    /// can make it fail.
    fn must_extend(
        &self,
        last: &Checkpoint,
        known: &Frontier,
        tree: &Frontier,
    ) -> Result<(), Error> {
        let extends = if tree.size() <= last.size {
            (tree.size() == last.size && tree.root() == last.root)
                .then_some(())
                .ok_or_else(|| Error::CheckpointNotExtended {
                    last: last.size,
                    new: tree.size(),
                })
        } else if self.views_lead_to(last, tree).is_ok() {
            Ok(())
        } else {
            self.segments_must_lead_to(known, tree)
        };
        extends.inspect_err(|error| self.fail_if_damaged(error))
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the log has panicked");
        }
    }
}

fn must_fit(part: &'static str, length: u64, limit: u64) -> Result<(), AppendError> {
    if length > limit {
        return Err(AppendError::TooLarge {
            part,
            length,
            limit,
        });
    }
    Ok(())
}

fn opening_folder(folder: &Path) -> impl FnOnce(std::io::Error) -> Error {
    move |error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::Locked,
        std::io::ErrorKind::NotFound => Error::Absent,
        _ => Error::storage(format!("opening {}", folder.display()))(error),
    }
}
