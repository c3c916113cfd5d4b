//! What the file system is asked for: one call of POSIX each, and what of it survives a power cut.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    path::Path,
};

/// A file system. Until the folder was synced, any of the names that were made, moved and removed
/// in it may survive a power cut, and any may not; each call survives wholly or not at all.
///
/// Every method fails when the call of the operating system does; it may have been carried out all
/// the same.
#[allow(clippy::missing_errors_doc, reason = "said once, above")]
pub trait FileSystem: Send + Sync {
    /// Opens a file that is there.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>>;

    /// Makes an empty file to write and read, unless something of that name is there.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn File>>;

    /// Moves a file or folder, in place of any file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, unless something of that name is there.
    fn link(&self, existing: &Path, name: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder, unless something of that name is there.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// What is in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;

    /// When this returns, the names in the folder survive as they are.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// What an open file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// Reading, and writing whole [`BLOCK`](crate::BLOCK)s from a
    /// [`BlockBuffer`](crate::BlockBuffer). They do not pass through the memory in which the system
    /// keeps what may be read again, where the file system can do without.
    Blocks,
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name.
    pub name: OsString,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// An open file, shared by threads. Until it was synced, any sectors of what was written may
/// survive a power cut in any order, and its length may be any that it had.
#[allow(clippy::missing_errors_doc, reason = "as for the file system")]
pub trait File: Send + Sync {
    /// How long it is, in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Reads from `offset` on; says how much, which may be less than there is.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes the parts one after the other from `offset` on; says how much, which may be less than
    /// they have.
    fn write(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Takes the blocks for this many bytes, so that a full disk is noticed now. Changes no length.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// When this returns, all that was written survives. When it fails, it is unknown what does,
    /// and what was not kept is not kept by a later sync either: it must be written again.
    fn sync(&self) -> io::Result<()>;
}
