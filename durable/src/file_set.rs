//! Many files at once: each put whole, and all of their folders synced together.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use crate::{
    file_system::FileSystem,
    writing::{beside, put_in_place, read, remove_if_there, write_beside},
};

/// Files written below one folder. They survive a power cut once [`Self::sync`] has returned; until
/// then, one leaves each of them absent, as it was, or whole. Errors name the file.
pub struct FileSet<'a> {
    files: &'a dyn FileSystem,
    folder: &'a Path,
    mode: u32,
    unsynced: BTreeSet<PathBuf>,
}

impl<'a> FileSet<'a> {
    /// No files yet. Those put get this mode.
    #[must_use]
    pub const fn new(files: &'a dyn FileSystem, folder: &'a Path, mode: u32) -> Self {
        Self {
            files,
            folder,
            mode,
            unsynced: BTreeSet::new(),
        }
    }

    /// Puts `bytes` under a name, in place of what was there.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.place(name)?;
        let length = bytes.len() as u64;
        write_beside(self.files, &path, &mut &*bytes, length, self.mode)
            .and_then(|unfinished| put_in_place(self.files, &unfinished, &path))
            .map_err(at(&path))
    }

    /// Puts `bytes` under a name unless they are there. Says whether it wrote them.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn complete(&mut self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.place(name)?;
        // That it is there does not mean that its name survives.
        if read(self.files, &path).is_ok_and(|found| found == bytes) {
            return Ok(false);
        }
        self.put(name, bytes)?;
        Ok(true)
    }

    /// Gives the file `existing` a second name, in place of what was there.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be linked.
    pub fn link(&mut self, existing: &str, name: &str) -> io::Result<()> {
        let path = self.place(name)?;
        let existing = self.folder.join(existing);
        let link = || {
            let unfinished = beside(&path)?;
            remove_if_there(self.files, &unfinished)?;
            self.files.link(&existing, &unfinished)?;
            put_in_place(self.files, &unfinished, &path)
        };
        link().map_err(at(&path))
    }

    /// When this returns, all that was put and linked survives.
    ///
    /// # Errors
    /// When it is unknown what survives; the same files can be put again.
    pub fn sync(&mut self) -> io::Result<()> {
        for folder in std::mem::take(&mut self.unsynced) {
            self.files.sync_folder(&folder).map_err(at(&folder))?;
        }
        Ok(())
    }

    /// The path of a name, its folder made.
    fn place(&mut self, name: &str) -> io::Result<PathBuf> {
        let path = self.folder.join(name);
        let folder = path.parent().unwrap_or(self.folder);
        make_way(self.files, folder).map_err(at(folder))?;
        // Folders may have been made on the way; each one's name stands in the one above it.
        let way = folder
            .ancestors()
            .take_while(|above| above.starts_with(self.folder));
        self.unsynced.extend(way.map(Path::to_owned));
        Ok(path)
    }
}

fn make_way(files: &dyn FileSystem, folder: &Path) -> io::Result<()> {
    match (files.make_folder(folder), folder.parent()) {
        (Err(error), _) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        (Err(error), Some(above)) if error.kind() == io::ErrorKind::NotFound => {
            make_way(files, above)?;
            files.make_folder(folder)
        }
        (made, _) => made,
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
