//! What a simulated disk holds: files by sectors and folders by names, as they are read and as they
//! would be after a power cut.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{self, IoSlice},
};

/// What a disk writes whole.
const SECTOR: usize = 512;

/// The number of a file or folder, whatever its names are.
pub(super) type Number = usize;

/// Decides by chance what survives.
pub(super) type Chance<'a> = &'a mut dyn FnMut() -> bool;

#[derive(Clone)]
pub(super) enum Node {
    File(FileNode),
    Folder(FolderNode),
}

/// A file.
#[derive(Clone, Default)]
pub(super) struct FileNode {
    /// What is read.
    pub(super) current: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    /// By sector, all that it has been since it was synced.
    unsynced: BTreeMap<usize, Vec<Vec<u8>>>,
    /// All lengths since it was synced.
    lengths: Vec<usize>,
    pub(super) allocated: usize,
}

impl FileNode {
    /// A file that survives as it is.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self {
            durable: bytes.clone(),
            current: bytes,
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if end > self.current.len() {
            self.current.resize(end, 0);
            self.lengths.push(end);
        }
        if let Some(place) = self.current.get_mut(offset..end) {
            place.copy_from_slice(bytes);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let now = slice(&self.current, sector).to_vec();
            self.unsynced.entry(sector).or_default().push(now);
        }
    }

    pub(super) fn sync(&mut self) {
        self.settle(&mut || true);
    }

    /// What Linux does when it cannot write: what was not kept is still read, and never written.
    pub(super) fn fail_to_sync(&mut self) {
        self.unsynced.clear();
        self.lengths.clear();
    }

    pub(super) fn cut_power(&mut self, chance: Chance<'_>) {
        self.settle(chance);
        self.current.clone_from(&self.durable);
        self.allocated = 0;
    }

    /// Keeps of each sector one thing that it has been since it was synced, or what it was then.
    fn settle(&mut self, chance: Chance<'_>) {
        let lengths = std::mem::take(&mut self.lengths);
        if let Some(length) = lengths.into_iter().rev().find(|_| chance()) {
            self.durable.resize(length, 0);
        }
        for (sector, versions) in std::mem::take(&mut self.unsynced) {
            let Some(version) = versions.into_iter().rev().find(|_| chance()) else {
                continue;
            };
            let from = self.durable.len().min(sector * SECTOR);
            let to = self.durable.len().min(from + version.len());
            let kept = version.get(..to - from).unwrap_or_default();
            if let Some(place) = self.durable.get_mut(from..to) {
                place.copy_from_slice(kept);
            }
        }
    }
}

fn slice(bytes: &[u8], sector: usize) -> &[u8] {
    let from = bytes.len().min(sector * SECTOR);
    let to = bytes.len().min(from + SECTOR);
    bytes.get(from..to).unwrap_or_default()
}

/// What one call does to the names of a folder.
pub(super) type Naming = Vec<(OsString, Option<Number>)>;

/// A folder.
#[derive(Clone, Default)]
pub(super) struct FolderNode {
    /// What is listed.
    pub(super) current: BTreeMap<OsString, Number>,
    /// What survives for certain.
    durable: BTreeMap<OsString, Number>,
    unsynced: Vec<Naming>,
}

impl FolderNode {
    pub(super) fn number(&self, name: &OsStr) -> io::Result<Number> {
        let number = self.current.get(name).copied();
        number.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn must_not_have(&self, name: &OsStr) -> io::Result<()> {
        if self.current.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(())
    }

    pub(super) fn change(&mut self, naming: Naming) {
        carry_out(&mut self.current, &naming);
        self.unsynced.push(naming);
    }

    pub(super) fn sync(&mut self) {
        self.settle(&mut || true);
    }

    pub(super) fn cut_power(&mut self, chance: Chance<'_>) {
        self.settle(chance);
        self.current.clone_from(&self.durable);
    }

    fn settle(&mut self, chance: Chance<'_>) {
        for naming in std::mem::take(&mut self.unsynced) {
            if chance() {
                carry_out(&mut self.durable, &naming);
            }
        }
    }
}

fn carry_out(names: &mut BTreeMap<OsString, Number>, naming: &Naming) {
    for (name, number) in naming {
        match number {
            Some(number) => drop(names.insert(name.clone(), *number)),
            None => drop(names.remove(name)),
        }
    }
}

/// The bytes of all parts, at most so many.
pub(super) fn joined(parts: &[IoSlice<'_>]) -> Vec<u8> {
    parts.iter().flat_map(|part| part.to_vec()).collect()
}
