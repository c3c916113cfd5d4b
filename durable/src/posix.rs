//! The file system of this machine: each method is the one call that it is named for.

use std::{
    fs::{self, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::FallocateFlags;

use crate::file_system::{Access, Entry, File, FileSystem};

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Posix;

impl FileSystem for Posix {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        Ok(Box::new(PosixFile(options.open(path)?)))
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        Ok(Box::new(PosixFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, existing: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(existing, name)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let entry = |entry: fs::DirEntry| {
            Ok(Entry {
                is_folder: entry.file_type()?.is_dir(),
                name: entry.file_name(),
            })
        };
        fs::read_dir(folder)?.map(|found| entry(found?)).collect()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        fs::File::open(folder)?.sync_all()
    }
}

struct PosixFile(fs::File);

impl File for PosixFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, parts, offset)?)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            &self.0,
            FallocateFlags::KEEP_SIZE,
            0,
            length,
        )?)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
