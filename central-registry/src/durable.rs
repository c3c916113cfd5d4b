//! Durable files: a name means the old bytes or the whole new ones, also after a crash.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::Error;

/// The suffix of files that are being made. Their names begin with a dot and are never served.
pub(crate) const UNFINISHED: &str = ".new";

/// Files written below one folder. They survive a crash of the machine once [`Self::sync`] has
/// returned; until then a crash leaves each of them absent, as it was, or whole.
pub(crate) struct DurableFiles {
    folder: PathBuf,
    unsynced: BTreeSet<PathBuf>,
}

impl DurableFiles {
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            unsynced: BTreeSet::new(),
        }
    }

    /// Puts `bytes` under a name, in place of what was there.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.place(name)?;
        let unfinished = unfinished(&path);
        let written =
            write_synced(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, &path));
        written.map_err(Error::file("writing", path))
    }

    /// Puts `bytes` under a name unless they are there. Says whether it wrote them.
    pub(crate) fn complete(&mut self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        if fs::read(self.folder.join(name)).is_ok_and(|found| found == bytes) {
            return Ok(false);
        }
        self.put(name, bytes)?;
        Ok(true)
    }

    /// Gives the file `existing` a second name.
    pub(crate) fn link(&mut self, existing: &str, name: &str) -> Result<(), Error> {
        let path = self.place(name)?;
        let unfinished = unfinished(&path);
        let linked = remove_if_there(&unfinished)
            .and_then(|()| fs::hard_link(self.folder.join(existing), &unfinished))
            .and_then(|()| fs::rename(&unfinished, &path));
        linked.map_err(Error::file("linking", path))
    }

    /// When this returns, all that was put and linked survives a crash.
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        for folder in std::mem::take(&mut self.unsynced) {
            sync_folder(&folder).map_err(Error::file("syncing", folder))?;
        }
        Ok(())
    }

    /// The path of a name, its folder made.
    fn place(&mut self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        let folder = path.parent().unwrap_or(&self.folder);
        if !folder.is_dir() {
            fs::create_dir_all(folder).map_err(Error::file("making", folder))?;
        }
        // Folders may have been made on the way; each one's name stands in the one above it.
        let way = folder
            .ancestors()
            .take_while(|above| above.starts_with(&self.folder));
        self.unsynced.extend(way.map(Path::to_owned));
        Ok(path)
    }
}

/// Writes one durable file in place of what was there.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut files = DurableFiles::new(folder.unwrap_or_else(|| Path::new(".")));
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Error::content(path, "is no file name"))?;
    files.put(name, bytes)?;
    files.sync()
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
