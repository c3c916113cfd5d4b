//! Durable files: every write that a log relies on goes through here.
//!
//! The contracts say what survives a crash of the machine, not how. [`Directory`] keeps them with
//! `fdatasync`, rename and `fsync` of the folder; tests keep and break them in memory.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, FlockOperation},
    io::Errno,
};

/// Where a log keeps its files. Names are relative, with `/` between folder and file.
pub trait Storage: Send + Sync + 'static {
    /// The names of the files in a folder (`""` is the log itself), sorted.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Opens an existing file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file.
    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>>;

    /// Makes a file of `contents` and then real zeros up to `length`, in place of any file of
    /// that name. When this returns, the file and its name survive a crash; after a crash before
    /// that, the name means the old file (or none) or the whole new one.
    ///
    /// # Errors
    /// When the file cannot be made; one named `*.new` may stay behind.
    fn create(&self, name: &str, contents: &mut dyn Read, length: u64) -> io::Result<()>;

    /// Removes a file. When this returns, it stays removed after a crash.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file of a [`Storage`], shared by threads.
pub trait StoredFile: Send + Sync {
    /// How long it is.
    ///
    /// # Errors
    /// When the file system fails.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from `offset` on as far as the file reaches, and says how far.
    ///
    /// # Errors
    /// When the file system fails.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all parts one after the other. Nothing of it needs to survive a crash before
    /// [`Self::sync`] has returned; any sectors of it may, in any order.
    ///
    /// # Errors
    /// When not all was written; any part of it may have been.
    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// When this returns, all that was written before survives a crash.
    ///
    /// # Errors
    /// When it is unknown what survives.
    fn sync(&self) -> io::Result<()>;
}

/// The suffix of files that are being made.
pub(crate) const UNFINISHED: &str = ".new";
const LOCK: &str = "lock";
/// Zeros are written in pieces of this size.
const ZEROS: usize = 1024 * 1024;

/// A folder of the file system.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    /// Held as long as the folder is open for writing.
    lock: Option<File>,
}

impl Directory {
    /// Makes the folders of a new log and opens them for writing.
    ///
    /// # Errors
    /// When the folders cannot be made, or another process writes there.
    pub fn create(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("segments"))?;
        sync_folder(root)?;
        if let Some(parent) = root.parent().filter(|path| !path.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Self::lock(root)
    }

    /// Opens the folder for writing; at most one process can.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder; `WouldBlock` when another process has it open.
    pub fn lock(root: &Path) -> io::Result<Self> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join(LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            root: root.to_owned(),
            lock: Some(lock),
        })
    }

    /// Opens the folder for reading only, beside whoever writes there.
    #[must_use]
    pub fn read_only(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            lock: None,
        }
    }

    fn must_be_locked(&self) -> io::Result<()> {
        match self.lock {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    fn sync_folder_of(&self, name: &str) -> io::Result<()> {
        sync_folder(self.root.join(name).parent().unwrap_or(&self.root))
    }
}

impl Storage for Directory {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(self.lock.is_some())
            .open(self.root.join(name))?;
        Ok(Box::new(PlainFile(file)))
    }

    fn create(&self, name: &str, contents: &mut dyn Read, length: u64) -> io::Result<()> {
        self.must_be_locked()?;
        let unfinished = self.root.join(format!("{name}{UNFINISHED}"));
        let written = write_whole(&unfinished, contents, length);
        if let Err(error) = written {
            // What stays behind is removed when the log is next opened.
            fs::remove_file(&unfinished).ok();
            return Err(error);
        }
        fs::rename(&unfinished, self.root.join(name))?;
        self.sync_folder_of(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.must_be_locked()?;
        fs::remove_file(self.root.join(name))?;
        self.sync_folder_of(name)
    }
}

fn write_whole(path: &Path, contents: &mut dyn Read, length: u64) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    if length > 0 {
        reserve_blocks(&file, length)?;
    }
    let mut left = length.saturating_sub(io::copy(contents, &mut file)?);
    let zeros = vec![0; ZEROS.min(usize::try_from(left).unwrap_or(ZEROS))];
    while left > 0 {
        let piece = zeros
            .get(..usize::try_from(left).unwrap_or(ZEROS))
            .unwrap_or(&zeros);
        file.write_all(piece)?;
        left -= piece.len() as u64;
    }
    file.sync_all()
}

/// Asks for all blocks at once, so that a full disk is noticed before anything is written. File
/// systems that cannot do this are noticed by the writes.
fn reserve_blocks(file: &File, length: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, length) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT)) => Err(error.into()),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

struct PlainFile(File);

impl StoredFile for PlainFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        // The kernel takes at most this many parts in one call (IOV_MAX).
        const MOST_PARTS: usize = 1024;
        let (mut parts, mut offset) = (parts, offset);
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let most = parts.get(..MOST_PARTS).unwrap_or(parts);
            match rustix::io::pwritev(&self.0, most, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
