//! The key view: places of records by keys, in sled. Holds nothing that cannot be computed again.
//!
//! The name of an entry is `1, view, key, 0, 0, index`: zeros in the key are written as `0, 255`, so
//! that entries sort by key and no key is the beginning of another. Its value is the place. The
//! entry `0` names the number of records that are in the view, the leaf and the place of the last
//! one, and the version of the keys; sled writes it in one atomic batch with the entries.

use std::path::Path;

use trust::Digest;

use crate::walk::Place;

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

/// How far the view has come: the number of records, and the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) size: u64,
    pub(crate) leaf: Digest,
    pub(crate) place: Place,
}

/// A record that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    pub(crate) place: Place,
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
            let (size, rest) = rest.split_first_chunk()?;
            let (leaf, place) = rest.split_first_chunk::<32>()?;
            let applied = Applied {
                size: u64::from_be_bytes(*size),
                leaf: Digest::from(*leaf),
                place: decode_place(place)?,
            };
            (u32::from_be_bytes(*version) == self.version).then_some(applied)
        }))
    }

    /// Enters keys of records, and how far that brings the view.
    pub(crate) fn apply(
        &self,
        keys: impl IntoIterator<Item = (Entry, ViewKey)>,
        applied: Applied,
    ) -> Result<(), sled::Error> {
        let mut batch = sled::Batch::default();
        for (entry, key) in keys {
            let name = bound(key.view, &key.key, entry.index);
            batch.insert(name, &encode_place(entry.place));
        }
        let mut value = self.version.to_be_bytes().to_vec();
        value.extend(applied.size.to_be_bytes());
        value.extend(applied.leaf.as_bytes());
        value.extend(encode_place(applied.place));
        batch.insert(APPLIED, value);
        self.database.apply_batch(batch)
    }

    /// The records with exactly this key, in order.
    pub(crate) fn find(
        &self,
        view: u8,
        key: &[u8],
    ) -> impl Iterator<Item = Result<Entry, sled::Error>> + use<> {
        let (first, last) = (bound(view, key, 0), bound(view, key, u64::MAX));
        self.database.range(first..=last).filter_map(entry)
    }

    /// The records with a key from `from` up to but without `until`, in order of key and index.
    pub(crate) fn range(
        &self,
        view: u8,
        from: &[u8],
        until: &[u8],
    ) -> impl Iterator<Item = Result<Entry, sled::Error>> + use<> {
        let (first, last) = (bound(view, from, 0), bound(view, until, 0));
        // A range that ends before it begins has nothing.
        let last = last.max(first.clone());
        self.database.range(first..last).filter_map(entry)
    }
}

/// An entry as it was found; what does not have the form of one is not one.
fn entry(found: sled::Result<(sled::IVec, sled::IVec)>) -> Option<Result<Entry, sled::Error>> {
    found
        .map(|(name, place)| {
            Some(Entry {
                index: name.last_chunk().copied().map(u64::from_be_bytes)?,
                place: decode_place(&place)?,
            })
        })
        .transpose()
}

fn encode_place(place: Place) -> [u8; 24] {
    let mut bytes = [0; 24];
    let parts = [place.segment, place.batch, place.frame];
    for (bytes, part) in bytes.chunks_exact_mut(8).zip(parts) {
        bytes.copy_from_slice(&part.to_be_bytes());
    }
    bytes
}

fn decode_place(bytes: &[u8]) -> Option<Place> {
    let (segment, rest) = bytes.split_first_chunk()?;
    let (batch, rest) = rest.split_first_chunk()?;
    Some(Place {
        segment: u64::from_be_bytes(*segment),
        batch: u64::from_be_bytes(*batch),
        frame: u64::from_be_bytes(*rest.first_chunk()?),
    })
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
        let entry = |index| Entry {
            index,
            place: Place {
                segment: index / 10,
                batch: 512 * index,
                frame: index + 7,
            },
        };
        let applied = Applied {
            size: 200,
            leaf: Digest::of(b""),
            place: entry(199).place,
        };
        let entries = keys.iter().enumerate().flat_map(|(n, key)| {
            let key = ViewKey {
                view: 3,
                key: key.to_vec(),
            };
            [(entry(n as u64), key.clone()), (entry(n as u64 + 100), key)]
        });
        view.apply(entries, applied).unwrap();
        for (n, key) in (0..).zip(keys) {
            let found: Vec<_> = view.find(3, key).map(Result::unwrap).collect();
            assert_eq!(found, [entry(n), entry(n + 100)]);
            assert_eq!(view.find(2, key).count(), 0);
        }
        let range = view.range(3, b"\0\0", b"a\0");
        let expected: Vec<_> = (2..6).flat_map(|n| [entry(n), entry(n + 100)]).collect();
        assert_eq!(range.map(Result::unwrap).collect::<Vec<_>>(), expected);
        assert_eq!(view.range(3, b"b", b"a").count(), 0);
        assert_eq!(view.applied().unwrap(), Some(applied));
    }
}
