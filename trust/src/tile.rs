//! Tiles: the hashes and the entries of a log as static files (C2SP tlog-tiles).

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

use crate::{
    Digest,
    leaf::LeafPreimage,
    merkle::{Hashes, node_hash},
};

/// The number of hashes in a full tile, and of records in a full bundle.
pub const FULL_WIDTH: u16 = 256;
/// How many levels of the tree a tile spans.
const HEIGHT: u8 = 8;

/// A tile: up to 256 consecutive hashes of one level in eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// The tiles of a tree of `size` leaves that the tree of `old_size` leaves does not have, the
    /// partial ones at the right edge included.
    pub fn added(old_size: u64, size: u64) -> impl Iterator<Item = Self> {
        (0..8).flat_map(move |level| {
            let (old, new) = (hashes_of(old_size, level), hashes_of(size, level));
            let first = old / u64::from(FULL_WIDTH);
            let none = old == new;
            let end = if none {
                first
            } else {
                new.div_ceil(u64::from(FULL_WIDTH))
            };
            (first..end).filter_map(move |index| Self::of_size(level, index, size))
        })
    }

    /// The tile at this place in a tree of `size` leaves; none if there is no hash in it.
    #[must_use]
    pub fn of_size(level: u8, index: u64, size: u64) -> Option<Self> {
        let width = width_at(hashes_of(size, level), index)?;
        Some(Self {
            level,
            index,
            width,
        })
    }

    /// The level, from 0: a hash of it is the root of 256 to the power of `level` leaves.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// The position in its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The number of hashes: 256, or fewer at the right edge of the tree.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }
}

impl fmt::Display for Tile {
    /// The path below the base URL of the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tile/{}/", self.level)?;
        write_place(formatter, self.index, self.width)
    }
}

/// A bundle of up to 256 consecutive records, without their erasable parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// The bundles that hold the records from `old_size` to `size`.
    pub fn added(old_size: u64, size: u64) -> impl Iterator<Item = Self> {
        let first = old_size / u64::from(FULL_WIDTH);
        let end = if old_size >= size {
            first
        } else {
            size.div_ceil(u64::from(FULL_WIDTH))
        };
        (first..end).filter_map(move |index| {
            Some(Self {
                index,
                width: width_at(size, index)?,
            })
        })
    }

    /// The index of its first record.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.index * FULL_WIDTH as u64
    }

    /// The number of records.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }
}

impl fmt::Display for Bundle {
    /// The path below the base URL of the log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "entries/")?;
        write_place(formatter, self.index, self.width)
    }
}

/// A local record as bundles carry it: all that its leaf is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundledRecord {
    /// The kind: a `RecordKind` of the wire.
    pub kind: u8,
    /// The typed body, at most 65,535 bytes.
    pub header: Bytes,
    /// SHA-256 of the annex.
    pub annex_digest: Digest,
}

impl BundledRecord {
    /// Appends it: kind (one byte), length of the header (two bytes, big-endian), header, digest.
    /// False if the header is too long.
    #[must_use]
    pub fn encode(&self, bundle: &mut Vec<u8>) -> bool {
        let Ok(length) = u16::try_from(self.header.len()) else {
            return false;
        };
        bundle.push(self.kind);
        bundle.extend(length.to_be_bytes());
        bundle.extend_from_slice(&self.header);
        bundle.extend(self.annex_digest.as_bytes());
        true
    }

    /// Reads all records of a bundle; none if it is malformed.
    #[must_use]
    pub fn decode_all(bundle: &Bytes) -> Option<Vec<Self>> {
        let mut records = Vec::new();
        let mut rest = bundle.clone();
        while !rest.is_empty() {
            let (&[kind, high, low], _) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes([high, low]));
            let end = 3 + length;
            let annex_digest = Digest::from_slice(rest.get(end..end + 32)?)?;
            let header = rest.slice(3..end);
            records.push(Self {
                kind,
                header,
                annex_digest,
            });
            rest = rest.slice(end + 32..);
        }
        Some(records)
    }

    /// The leaf hash.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        let preimage = LeafPreimage {
            kind: self.kind,
            message_digest: Digest::of(&self.header),
            signature_digest: Digest::of(b""),
            annex_digest: self.annex_digest,
        };
        preimage.leaf()
    }
}

/// A tile that is needed and not there: read it and try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is needed")]
pub struct MissingTile(pub Tile);

/// The hashes of a tree of some size, as far as its tiles were read. Nothing in it is trusted:
/// proofs made from it are verified like any other.
#[derive(Debug, Clone)]
pub struct TiledTree {
    size: u64,
    tiles: BTreeMap<Tile, Vec<Digest>>,
}

impl TiledTree {
    /// The tree of `size` leaves, no tile of which was read yet.
    #[must_use]
    pub const fn new(size: u64) -> Self {
        Self {
            size,
            tiles: BTreeMap::new(),
        }
    }

    /// Adds a tile; false if these are not as many hashes as it has.
    #[must_use]
    pub fn insert(&mut self, tile: Tile, bytes: &[u8]) -> bool {
        let hashes: Vec<Digest> = bytes.chunks(32).filter_map(Digest::from_slice).collect();
        let fits = hashes.len() == usize::from(tile.width) && bytes.len() == hashes.len() * 32;
        if fits {
            self.tiles.insert(tile, hashes);
        }
        fits
    }
}

impl Hashes for TiledTree {
    type Error = MissingTile;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, MissingTile> {
        let (tile_level, height) = (level / HEIGHT, level % HEIGHT);
        let first = index << height;
        let place = first / u64::from(FULL_WIDTH);
        // A subtree outside the tree is in a tile that nobody can give us.
        let outside = Tile {
            level: tile_level,
            index: place,
            width: FULL_WIDTH,
        };
        let tile = Tile::of_size(tile_level, place, self.size).unwrap_or(outside);
        let start = usize::try_from(first % u64::from(FULL_WIDTH)).unwrap_or(usize::MAX);
        let hashes = self
            .tiles
            .get(&tile)
            .and_then(|hashes| hashes.get(start..)?.get(..1 << height));
        Ok(root_of(hashes.ok_or(MissingTile(tile))?))
    }
}

/// The root over a power of two of hashes.
fn root_of(hashes: &[Digest]) -> Digest {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// How many complete subtrees of this tile level a tree has.
const fn hashes_of(size: u64, level: u8) -> u64 {
    match size.checked_shr(level as u32 * HEIGHT as u32) {
        Some(hashes) => hashes,
        None => 0,
    }
}

/// How many of `total` things stand in group `index` of 256.
fn width_at(total: u64, index: u64) -> Option<u16> {
    let before = index.checked_mul(u64::from(FULL_WIDTH))?;
    let width = total.saturating_sub(before).min(u64::from(FULL_WIDTH));
    u16::try_from(width).ok().filter(|width| *width > 0)
}

/// `x001/234`, with `.p/17` behind it if it is not full.
fn write_place(formatter: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    let digits = index.to_string();
    let digits = format!("{digits:0>length$}", length = digits.len().div_ceil(3) * 3);
    for (position, digit) in digits.char_indices() {
        let left = digits.len() - position;
        if left % 3 == 0 {
            let slash = if position > 0 { "/" } else { "" };
            let more = if left > 3 { "x" } else { "" };
            write!(formatter, "{slash}{more}")?;
        }
        write!(formatter, "{digit}")?;
    }
    if width < FULL_WIDTH {
        write!(formatter, ".p/{width}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
