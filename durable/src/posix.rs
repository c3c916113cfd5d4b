//! The file system of this machine: each method is the one call that it is named for.

use std::{
    fs::{self, OpenOptions},
    io::{self, IoSlice},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::{AtFlags, FallocateFlags, OFlags, StatxFlags};

use crate::{
    blocks::{ALIGNMENT, BLOCK},
    file_system::{Access, Entry, File, FileSystem},
};

/// The file system of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Posix;

impl FileSystem for Posix {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access != Access::Read);
        let file = options.open(path)?;
        if access == Access::Blocks && takes_blocks_from_memory(&file) {
            options.custom_flags(OFlags::DIRECT.bits().cast_signed());
            // A file system that lies upon another one may not know what that can do.
            return Ok(Box::new(PosixFile(options.open(path).unwrap_or(file))));
        }
        Ok(Box::new(PosixFile(file)))
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

/// Whether the disk can be given our blocks out of our memory; not all file systems say or can.
fn takes_blocks_from_memory(file: &fs::File) -> bool {
    let asked = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    let fits = |alignment: u32, ours: usize| {
        let alignment = alignment as usize;
        alignment > 0 && ours.is_multiple_of(alignment)
    };
    asked.is_ok_and(|it| {
        fits(it.stx_dio_mem_align, ALIGNMENT) && fits(it.stx_dio_offset_align, BLOCK)
    })
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
