//! The key view: record indices by keys, in sled. Holds nothing that cannot be computed again.
//!
//! An entry is `1, view, key, 0, 0, index`: zeros in the key are written as `0, 255`, so that
//! entries sort by key and no key is the beginning of another. The entry `0` names the number of
//! records that are in the view, the leaf of the last one, and the version of the keys; sled
//! writes it in one atomic batch with the entries.

use std::path::Path;

use trust::Digest;

/// A key under which a record is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewKey {
    /// Which of the caller's views.
    pub view: u8,
    /// The key in it.
    pub key: Vec<u8>,
}

/// The database, open.
pub(crate) struct KeyView {
    database: sled::Db,
    version: u32,
}

/// How far the view has come: the number of records, and the leaf of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) size: u64,
    pub(crate) leaf: Digest,
}

const APPLIED: &[u8] = &[0];
const ENTRIES: u8 = 1;
/// Memory for pages; sled's own default is a gigabyte.
const CACHE: u64 = 64 * 1024 * 1024;

impl KeyView {
    /// Opens the database, or makes an empty one.
    pub(crate) fn open(folder: &Path, version: u32) -> Result<Self, sled::Error> {
        let database = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE)
            // No thread of its own: what is not on disk after a crash is made again.
            .flush_every_ms(None)
            .open()?;
        Ok(Self { database, version })
    }

    /// Writes out what is in memory, so that less has to be made again after a crash.
    pub(crate) fn write_out(&self) -> Result<(), sled::Error> {
        self.database.flush().map(drop)
    }

    /// How far it has come; none if it is empty or was made for other keys.
    pub(crate) fn applied(&self) -> Result<Option<Applied>, sled::Error> {
        Ok(self.database.get(APPLIED)?.and_then(|value| {
            let (version, rest) = value.split_first_chunk()?;
            let (size, leaf) = rest.split_first_chunk()?;
            let applied = Applied {
                size: u64::from_be_bytes(*size),
                leaf: Digest::from_slice(leaf)?,
            };
            (u32::from_be_bytes(*version) == self.version).then_some(applied)
        }))
    }

    /// Enters keys of records, and how far that brings the view.
    pub(crate) fn apply(
        &self,
        keys: impl IntoIterator<Item = (u64, ViewKey)>,
        applied: Applied,
    ) -> Result<(), sled::Error> {
        let mut batch = sled::Batch::default();
        for (index, key) in keys {
            let mut entry = prefix(key.view, &key.key);
            entry.extend([0, 0]);
            entry.extend(index.to_be_bytes());
            batch.insert(entry, &[]);
        }
        let mut value = self.version.to_be_bytes().to_vec();
        value.extend(applied.size.to_be_bytes());
        value.extend(applied.leaf.as_bytes());
        batch.insert(APPLIED, value);
        self.database.apply_batch(batch)
    }

    /// The records with exactly this key, from record `from` on, in order.
    pub(crate) fn find(
        &self,
        view: u8,
        key: &[u8],
        from: u64,
        limit: usize,
    ) -> Result<Vec<u64>, sled::Error> {
        let (first, last) = (bound(view, key, from), bound(view, key, u64::MAX));
        self.database
            .range(first..=last)
            .keys()
            .take(limit)
            .filter_map(|entry| entry.map(|entry| index_of(&entry)).transpose())
            .collect()
    }

    /// The newest record with exactly this key.
    pub(crate) fn newest(&self, view: u8, key: &[u8]) -> Result<Option<u64>, sled::Error> {
        let newest = self
            .database
            .range(bound(view, key, 0)..=bound(view, key, u64::MAX))
            .keys()
            .next_back()
            .transpose()?;
        Ok(newest.and_then(|entry| index_of(&entry)))
    }

    /// Keys from `from` up to but without `until`, in order of key and then index.
    pub(crate) fn range(
        &self,
        view: u8,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, sled::Error> {
        if from >= until {
            return Ok(Vec::new());
        }
        let (first, last) = (bound(view, from, 0), bound(view, until, 0));
        self.entries(self.database.range(first..last), limit)
    }

    /// Keys that begin with `start`, in order of key and then index.
    pub(crate) fn beginning_with(
        &self,
        view: u8,
        start: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, u64)>, sled::Error> {
        self.entries(self.database.scan_prefix(prefix(view, start)), limit)
    }

    fn entries(&self, found: sled::Iter, limit: usize) -> Result<Vec<(Vec<u8>, u64)>, sled::Error> {
        found
            .keys()
            .take(limit)
            .filter_map(|entry| {
                entry
                    .map(|entry| Some((key_of(&entry)?, index_of(&entry)?)))
                    .transpose()
            })
            .collect()
    }
}

fn prefix(view: u8, key: &[u8]) -> Vec<u8> {
    let mut entry = vec![ENTRIES, view];
    for byte in key {
        entry.push(*byte);
        if *byte == 0 {
            entry.push(0xff);
        }
    }
    entry
}

fn bound(view: u8, key: &[u8], index: u64) -> Vec<u8> {
    let mut entry = prefix(view, key);
    entry.extend([0, 0]);
    entry.extend(index.to_be_bytes());
    entry
}

fn index_of(entry: &[u8]) -> Option<u64> {
    entry.last_chunk().copied().map(u64::from_be_bytes)
}

fn key_of(entry: &[u8]) -> Option<Vec<u8>> {
    let escaped = entry.get(2..entry.len().checked_sub(10)?)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut after_zero = false;
    for byte in escaped {
        if !after_zero {
            key.push(*byte);
        }
        after_zero = *byte == 0 && !after_zero;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_they_are_and_none_is_the_beginning_of_another() {
        let keys: [&[u8]; 9] = [
            b"", b"\0", b"\0\0", b"\0\x01", b"\0\xff", b"a", b"a\0", b"a\0b", b"ab",
        ];
        let folder = tempfile::tempdir().unwrap();
        let view = KeyView::open(folder.path(), 1).unwrap();
        let leaf = Digest::of(b"");
        let entries = keys.iter().enumerate().flat_map(|(n, key)| {
            let key = ViewKey {
                view: 3,
                key: key.to_vec(),
            };
            [(n as u64, key.clone()), (n as u64 + 100, key)]
        });
        view.apply(entries, Applied { size: 200, leaf }).unwrap();
        for (n, key) in keys.iter().enumerate() {
            let n = n as u64;
            assert_eq!(view.find(3, key, 0, 10).unwrap(), [n, n + 100]);
            assert_eq!(view.find(3, key, n + 1, 10).unwrap(), [n + 100]);
            assert_eq!(view.find(3, key, 0, 1).unwrap(), [n]);
            assert_eq!(view.newest(3, key).unwrap(), Some(n + 100));
            assert!(view.find(2, key, 0, 10).unwrap().is_empty());
        }
        let ordered = view.beginning_with(3, b"", 100).unwrap();
        let expected: Vec<_> = keys
            .iter()
            .enumerate()
            .flat_map(|(n, key)| [(key.to_vec(), n as u64), (key.to_vec(), n as u64 + 100)])
            .collect();
        assert_eq!(ordered, expected);
        let range = view.range(3, b"\0\0", b"a\0", 100).unwrap();
        assert_eq!(range, expected[4..12]);
        assert_eq!(view.beginning_with(3, b"a", 2).unwrap(), expected[10..12]);
        assert_eq!(view.range(3, b"b", b"a", 9).unwrap(), []);
        assert_eq!(view.applied().unwrap(), Some(Applied { size: 200, leaf }));
    }
}
