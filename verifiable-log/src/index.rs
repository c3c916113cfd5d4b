//! Finds records of a log by keys, from a folder beside it: for whoever reads, never for the writer.
//!
//! An index is derived and never needed. What it answers is read from the log and compared; one
//! that is damaged, was made for other keys or for another log is made again.

use std::{fs, io, path::Path, sync::Arc};

use trust::Digest;

use crate::{
    error::Error,
    files::Identity,
    following::Following,
    opening::{PROGRESS, Progress},
    reader::leaf_of_record,
    record::{KeptPart, LeafOf, RawRecord},
    segments,
    storage::Storage,
    views::{Applied, Entry, KeyView, ViewKey},
    walk::{Place, Step, Walk},
    window::Contents,
};

/// Computes the keys under which a record is found. Pure: an index is made again by it.
pub type KeysOf = fn(&KeptPart) -> Vec<ViewKey>;

/// How the records of a log are understood by an index.
#[derive(Debug, Clone, Copy)]
pub struct Indexing {
    /// Computes leaves.
    pub leaf_of: LeafOf,
    /// Computes keys.
    pub keys_of: KeysOf,
    /// The version of `keys_of`: when it changes, the index is made again.
    pub keys_version: u32,
}

/// An index, up to date with its log when it was opened.
pub struct Index {
    log: Arc<Storage>,
    indexing: Indexing,
    keys: KeyView,
    size: u64,
    /// Held as long as the index is open.
    _lock: Storage,
}

/// What is ours in the folder that the index was given; all else there is somebody else's.
const OURS: &str = "lienthong-index";
/// In ours: says that we made it, so that what is beside it may be removed.
const MARKER: &str = "made-by-lienthong";
/// In ours: the database.
const KEYS: &str = "keys";

impl Index {
    /// Opens the index in a folder, makes it if it is not there, and brings it up to date with the
    /// log in another folder, which may be in use. Tells its progress. Blocks on files.
    ///
    /// # Errors
    /// When another process has the index open ([`Error::Locked`]), the log is damaged, the folder
    /// cannot be written, or what has our name in it is not ours ([`Error::ForeignIndex`]).
    pub fn open(
        folder: &Path,
        log: &Path,
        indexing: Indexing,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let opening = || format!("opening the index in {}", folder.display());
        fs::create_dir_all(folder).map_err(Error::storage(opening()))?;
        let lock = Storage::lock(folder).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked,
            _ => Error::storage(opening())(error),
        })?;
        let log: Arc<Storage> = Arc::new(Storage::read_only(log));
        let identity = Identity::read(&log)?;
        let ours = folder.join(OURS);
        claim(&ours)?;
        let keys = ours.join(KEYS);
        let known = KeyView::open(&keys, indexing.keys_version).and_then(|keys| {
            let applied = keys.applied()?;
            Ok((keys, applied))
        });
        let brought = match known {
            Ok((keys, Some(applied))) => {
                let walk = resume(&log, indexing, applied)?;
                walk.map(|walk| (keys, applied.size, walk))
            }
            // It is new, or has other keys.
            Ok((keys, None)) => {
                drop(keys);
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the index does not open and is made again");
                None
            }
        };
        let (keys, size, walk) = match brought {
            Some(brought) => brought,
            None => {
                let keys = make_anew(&keys, indexing.keys_version)?;
                let walk = Walk::start(Arc::clone(&log), Contents::Check, identity.digest)?;
                (keys, 0, walk)
            }
        };
        let mut index = Self {
            log,
            indexing,
            keys,
            size,
            _lock: lock,
        };
        index.catch_up(Following::new(walk, size), progress)?;
        Ok(index)
    }

    /// How many records of the log it covers.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The records found under exactly this key, in order. Each step blocks on files.
    ///
    /// # Errors
    /// When the index or the log cannot be read, or they contradict each other.
    pub fn find(&self, view: u8, key: &[u8]) -> impl Iterator<Item = Result<RawRecord, Error>> {
        let found = self.keys.find(view, key);
        found.map(move |entry| self.read(entry.map_err(unusable)?, view, |it| it == key))
    }

    /// The records with a key from `from` up to, but without, `until`, in order of key and then
    /// record. Each step blocks on files.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_range(
        &self,
        view: u8,
        from: &[u8],
        until: &[u8],
    ) -> impl Iterator<Item = Result<RawRecord, Error>> {
        let found = self.keys.range(view, from, until);
        let asked = move |key: &[u8]| from <= key && key < until;
        found.map(move |entry| self.read(entry.map_err(unusable)?, view, asked))
    }

    /// Reads what was found. A record without the key that led to it means a wrong index.
    fn read(
        &self,
        Entry { index, place }: Entry,
        view: u8,
        asked: impl Fn(&[u8]) -> bool,
    ) -> Result<RawRecord, Error> {
        let record = segments::read_at(&self.log, place, index)?;
        let mut keys = (self.indexing.keys_of)(&record.kept).into_iter();
        if keys.any(|of_record| of_record.view == view && asked(&of_record.key)) {
            return Ok(record);
        }
        let problem = format!("it leads to record {index}, which has another key");
        Err(Error::View(problem))
    }

    fn catch_up(
        &mut self,
        mut log: Following,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let mut keys = Vec::new();
        let mut last = None;
        while let Step::Record(record, place) = log.read()? {
            let leaf = leaf_of_record(self.indexing.leaf_of, &record, place)?.leaf();
            let entry = Entry {
                index: record.index,
                place,
            };
            let of_record = (self.indexing.keys_of)(&record.kept);
            keys.extend(of_record.into_iter().map(|key| (entry, key)));
            last = Some((entry, leaf));
            if (record.index + 1).is_multiple_of(PROGRESS) {
                self.apply(&mut keys, last.take())?;
                let (bytes, of_bytes) = log.walk().progress();
                progress(Progress {
                    records: self.size,
                    bytes,
                    of_bytes,
                });
            }
        }
        self.apply(&mut keys, last)?;
        self.keys.write_out().map_err(unusable)
    }

    fn apply(
        &mut self,
        keys: &mut Vec<(Entry, ViewKey)>,
        last: Option<(Entry, Digest)>,
    ) -> Result<(), Error> {
        let Some((Entry { index, place }, leaf)) = last else {
            return Ok(());
        };
        self.size = index + 1;
        let applied = Applied {
            size: self.size,
            leaf,
            place,
        };
        self.keys.apply(keys.drain(..), applied).map_err(unusable)
    }
}

/// Makes our folder, or makes sure that we made it: an index that is wrong is removed, and nothing
/// of somebody else's ever is.
fn claim(ours: &Path) -> Result<(), Error> {
    let opening = || Error::storage(format!("opening the index in {}", ours.display()));
    fs::create_dir_all(ours).map_err(opening())?;
    let marker = ours.join(MARKER);
    if marker.is_file() {
        return Ok(());
    }
    // An empty one may be ours too, from before a crash; there is nothing in it to lose.
    if fs::read_dir(ours).map_err(opening())?.next().is_some() {
        return Err(Error::ForeignIndex(ours.to_owned()));
    }
    let text = "An index of a message log. It may be deleted at any time.\n";
    fs::write(marker, text).map_err(opening())
}

/// From the last record that the index has, if the log still has it there.
fn resume(log: &Arc<Storage>, indexing: Indexing, applied: Applied) -> Result<Option<Walk>, Error> {
    let Applied { size, leaf, place } = applied;
    let Some(index) = size.checked_sub(1) else {
        return Ok(None);
    };
    let Place { segment, batch, .. } = place;
    let found = segments::read_at(log, place, index)
        .and_then(|record| leaf_of_record(indexing.leaf_of, &record, place));
    match found {
        Ok(found) if found.leaf() == leaf => {
            Walk::at_batch(Arc::clone(log), Contents::Check, segment, batch).map(Some)
        }
        _ => {
            tracing::warn!("the index is of another log and is made again");
            Ok(None)
        }
    }
}

fn make_anew(folder: &Path, version: u32) -> Result<KeyView, Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::storage("removing the old index")(error));
        }
        _ => {}
    }
    KeyView::open(folder, version).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Error {
    Error::View(error.to_string())
}
