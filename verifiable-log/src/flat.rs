//! Flat views: where each record stands, and the hashes of the tree as C2SP tiles laid end to end.
//!
//! `places` has 16 bytes a record; `hashes.0` the leaf hashes, `hashes.8` the roots of complete
//! subtrees of 256 leaves, `hashes.16` those of 65,536, and so on. They are derived and believed
//! only as far as something verified confirms them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use trust::{
    Digest,
    merkle::{Frontier, Hashes, node_hash},
};

use crate::{format::BLOCK, walk::Place};

/// The levels of the tree that are kept.
const LEVELS: [u8; 5] = [0, 8, 16, 24, 32];
/// The file without which all views are made again.
pub(crate) const PLACES: &str = "places";
const PLACE: u64 = 16;
const HASH: u64 = 32;

/// The files, open.
pub(crate) struct FlatView {
    places: File,
    hashes: Vec<File>,
}

/// What a run of records adds to the files.
pub(crate) struct Additions {
    first: u64,
    places: Vec<u8>,
    hashes: [Vec<u8>; LEVELS.len()],
}

impl FlatView {
    /// Opens the files, making those that are missing.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let open = |name: String| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(folder.join(name))
        };
        Ok(Self {
            places: open(PLACES.to_owned())?,
            hashes: LEVELS
                .iter()
                .map(|level| open(format!("hashes.{level}")))
                .collect::<io::Result<_>>()?,
        })
    }

    /// How many records all files cover.
    pub(crate) fn size(&self) -> io::Result<u64> {
        let mut size = self.places.metadata()?.len() / PLACE;
        for (level, file) in LEVELS.iter().zip(&self.hashes) {
            let hashes = file.metadata()?.len() / HASH;
            if hashes < size >> level {
                size = hashes << level;
            }
        }
        Ok(size)
    }

    /// Cuts the files to the first `size` records.
    pub(crate) fn truncate(&self, size: u64) -> io::Result<()> {
        self.places.set_len(size * PLACE)?;
        for (level, file) in LEVELS.iter().zip(&self.hashes) {
            file.set_len((size >> level) * HASH)?;
        }
        Ok(())
    }

    /// Writes what was added.
    pub(crate) fn write(&self, additions: &Additions) -> io::Result<()> {
        let at = additions.first * PLACE;
        self.places.write_all_at(&additions.places, at)?;
        for ((level, file), bytes) in LEVELS.iter().zip(&self.hashes).zip(&additions.hashes) {
            if !bytes.is_empty() {
                file.write_all_at(bytes, (additions.first >> level) * HASH)?;
            }
        }
        Ok(())
    }

    /// Where a record stands.
    pub(crate) fn place(&self, index: u64) -> io::Result<Place> {
        let mut entry = [0; PLACE as usize];
        self.places.read_exact_at(&mut entry, index * PLACE)?;
        let number = u128::from_le_bytes(entry);
        Ok(Place {
            segment: number as u64,
            batch: u64::from((number >> 64) as u32) * BLOCK,
            frame: u64::from((number >> 96) as u32),
        })
    }

    /// The hashes from `start` on at a kept level, one after the other.
    pub(crate) fn hashes(&self, level: u8, start: u64, count: u64) -> io::Result<Vec<u8>> {
        let file = LEVELS
            .iter()
            .position(|kept| *kept == level)
            .and_then(|position| self.hashes.get(position))
            .ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = vec![0; usize::try_from(count * HASH).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start * HASH)?;
        Ok(bytes)
    }
}

impl Hashes for FlatView {
    type Error = io::Error;

    fn subtree(&self, level: u8, index: u64) -> io::Result<Digest> {
        let kept = (level / 8 * 8).min(32);
        let above = level - kept;
        let bytes = self.hashes(kept, index << above, 1 << above)?;
        let mut row: Vec<_> = bytes
            .chunks_exact(HASH as usize)
            .filter_map(Digest::from_slice)
            .collect();
        for _ in 0..above {
            row = row
                .chunks_exact(2)
                .filter_map(|pair| match pair {
                    [left, right] => Some(node_hash(left, right)),
                    _ => None,
                })
                .collect();
        }
        row.first()
            .copied()
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Additions {
    /// Nothing yet, after the records that the frontier has.
    pub(crate) fn after(frontier: &Frontier) -> Self {
        Self {
            first: frontier.size(),
            places: Vec::new(),
            hashes: Default::default(),
        }
    }

    /// Appends a record to the frontier, and what the files need of it.
    pub(crate) fn push(&mut self, frontier: &mut Frontier, leaf: Digest, place: Place) {
        let batch = (place.batch / BLOCK) as u32;
        self.places.extend(place.segment.to_le_bytes());
        self.places.extend(batch.to_le_bytes());
        self.places.extend((place.frame as u32).to_le_bytes());
        frontier.append_observed(leaf, |level, _, root| {
            let kept = LEVELS.iter().position(|kept| *kept == level);
            if let Some(bytes) = kept.and_then(|position| self.hashes.get_mut(position)) {
                bytes.extend(root.as_bytes());
            }
        });
    }
}
