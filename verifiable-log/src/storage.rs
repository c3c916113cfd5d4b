//! The folder of a log: its files by their names, written so that what was promised survives.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use durable::{Access, File, FileSystem, Posix};
use rustix::fs::FlockOperation;

const LOCK: &str = "lock";
/// Nobody else reads a log.
const MODE: u32 = 0o600;

/// Where a log keeps its files. Names are relative, with `/` between folder and file.
pub struct Storage {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    /// What opened files are for.
    access: Access,
    /// Held as long as the folder is open for writing.
    _lock: Option<fs::File>,
}

impl Storage {
    /// A folder for writing. Nobody else may write there.
    #[must_use]
    pub fn new(files: Arc<dyn FileSystem>, folder: &Path) -> Self {
        Self {
            files,
            folder: folder.to_owned(),
            access: Access::Write,
            _lock: None,
        }
    }

    /// Opens a folder of this machine for writing; at most one process can.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder; `WouldBlock` when another process has it open.
    pub fn lock(folder: &Path) -> io::Result<Self> {
        Self::lock_on(Arc::new(Posix), folder)
    }

    /// The same with the files of another file system; the lock is a file of this machine.
    ///
    /// # Errors
    /// As [`Self::lock`].
    pub fn lock_on(files: Arc<dyn FileSystem>, folder: &Path) -> io::Result<Self> {
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(MODE)
            .open(folder.join(LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            _lock: Some(lock),
            ..Self::new(files, folder)
        })
    }

    /// Opens a folder of this machine for reading only, beside whoever writes there.
    #[must_use]
    pub fn read_only(folder: &Path) -> Self {
        Self {
            access: Access::Read,
            ..Self::new(Arc::new(Posix), folder)
        }
    }

    /// Makes the folders of a new log.
    pub(crate) fn make_folders(&self) -> io::Result<()> {
        durable::make_folder(&*self.files, &self.folder.join("segments"))
    }

    /// Removes files that were being made when the log was last open, and lets the names of all
    /// others survive: that process may have ended before it came to this.
    pub(crate) fn settle(&self) -> io::Result<()> {
        durable::remove_unfinished(&*self.files, &self.folder)?;
        self.files.sync_folder(&self.folder.join("segments"))?;
        self.files.sync_folder(&self.folder)
    }

    /// The names of the files in a folder (`""` is the log itself), sorted.
    pub(crate) fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = self.files.list(&self.folder.join(folder))?;
        // A name that is not UTF-8 is none of ours.
        let mut names: Vec<_> = entries
            .into_iter()
            .filter(|entry| !entry.is_folder)
            .filter_map(|entry| entry.name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Opens an existing file; `NotFound` when there is none.
    pub(crate) fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.files.open(&self.folder.join(name), self.access)
    }

    /// The same for whoever writes blocks to it.
    pub(crate) fn open_blocks(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.files.open(&self.folder.join(name), Access::Blocks)
    }

    /// The whole contents of a file; `NotFound` when there is none.
    pub(crate) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        durable::read(&*self.files, &self.folder.join(name))
    }

    /// Makes a file of `contents` and then real zeros up to `length`, in place of any file of that
    /// name. When this returns, the file and its name survive a power cut; after one before that,
    /// the name means the old file (or none) or the whole new one.
    pub(crate) fn create(
        &self,
        name: &str,
        contents: &mut dyn Read,
        length: u64,
    ) -> io::Result<()> {
        let path = self.folder.join(name);
        durable::replace_from(&*self.files, &path, contents, length, MODE)
    }

    /// Removes a file. When this returns, it stays removed.
    pub(crate) fn remove_for_good(&self, name: &str) -> io::Result<()> {
        self.remove(name)?;
        self.files.sync_folder(&self.folder)
    }

    /// Removes a file, which a power cut may bring back.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(&self.folder.join(name))
    }
}
