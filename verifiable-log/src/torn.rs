//! Recovery: the end of a batch that a crash cut off is copied aside, zeroed, and recorded.
//!
//! In this order, each step synced before the next: the segment as it was found, written again; a
//! copy of the tail in `<segment>.<offset>.torn`; zeros in its place; a `Torn` record. After a crash
//! at any step, opening finds either the same tail (perhaps partly zeroed, and then covered by the
//! copy) or a copy without its record, and goes on from there.

use std::{
    io::{self, IoSlice, Read},
    sync::Arc,
};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use durable::File;
use prost::Message;
use trust::{
    Digest,
    wire::evidence::{RecordKind, Torn as TornRecord},
};

use crate::{
    error::Error,
    files::Reserve,
    format::segment_name,
    options::AnnexOf,
    record::Record,
    storage::Storage,
    walk::{Step, Tail, Walk, finish},
    window::{Contents, Window},
};

/// Bytes that were cut from the end of a segment, kept in a file of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornFile {
    /// The name of the file in the folder of the log.
    pub name: String,
    /// The segment, by its first record.
    pub segment: u64,
    /// Where in the segment the bytes stood.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
    /// Their SHA-256.
    pub digest: Digest,
}

const KIND: u8 = RecordKind::Torn as u8;
/// Bytes are compared, copied and zeroed in pieces of this size.
const PIECE: usize = 64 * 1024;

impl TornFile {
    /// The record that states it, as the log keeps it.
    fn record(&self) -> TornRecord {
        TornRecord {
            segment: format!("{:020}", self.segment),
            offset: self.offset,
            length: self.length,
            digest: self.digest.to_bytes(),
        }
    }
}

/// All files of torn bytes, each read to its end.
pub(crate) fn torn_files(storage: &Storage) -> Result<Vec<TornFile>, Error> {
    let names = storage
        .list("")
        .map_err(Error::storage("listing the log"))?;
    let mut files = Vec::new();
    for name in names {
        let Some((segment, offset)) = parse_name(&name) else {
            continue;
        };
        let mut window = open(storage, &name)?;
        let (mut digest, mut length) = (Context::new(&SHA256), 0);
        loop {
            let piece = window.slice(length, PIECE).map_err(reading(&name))?;
            if piece.is_empty() {
                break;
            }
            digest.update(piece);
            length += piece.len() as u64;
        }
        files.push(TornFile {
            name,
            segment,
            offset,
            length,
            digest: finish(digest),
        });
    }
    Ok(files)
}

/// Writes the end of the log again, as it was read, from its last batch on: a process that was
/// killed before its sync, or whose sync failed, leaves it in memory only, where it is read and no
/// sync keeps it. Whatever is shown from now on survives.
pub(crate) fn write_again(storage: &Storage, tail: &Tail) -> Result<(), Error> {
    let name = segment_name(tail.segment.first);
    let rewritten = || {
        let file = storage.open(&name)?;
        let (mut at, mut piece) = (tail.last_batch, vec![0; PIECE]);
        loop {
            let length = durable::read_at(&*file, &mut piece, at)?;
            let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else {
                return file.sync();
            };
            durable::write_at(&*file, &mut [IoSlice::new(read)], at)?;
            at += length as u64;
        }
    };
    rewritten().map_err(Error::storage(format!("writing the end of {name} again")))
}

/// Cuts what is torn off the end. Nothing is lost: the bytes are in a file of their own first.
pub(crate) fn cut(storage: &Arc<Storage>, reserve: &Reserve, tail: &mut Tail) -> Result<(), Error> {
    let Some(torn) = tail.torn.clone() else {
        return Ok(());
    };
    let segment = tail.segment.first;
    let name = segment_name(segment);
    let mut window = open(storage, &name)?;
    let end = window.end_of_bytes(torn.offset).map_err(reading(&name))?;
    tracing::warn!(
        segment,
        offset = torn.offset,
        length = end - torn.offset,
        fault = %torn.fault,
        "the last batch was not written to its end: cutting it",
    );
    if !is_covered(storage, &mut window, segment, torn.offset, end)? {
        let copy = free_name(storage, segment, torn.offset)?;
        reserve.draw(storage, || {
            let mut bytes = Range {
                file: window.file(),
                offset: torn.offset,
                end,
            };
            storage
                .create(&copy, &mut bytes, end - torn.offset)
                .map_err(Error::storage(format!("writing {copy}")))
        })?;
    }
    zero(window.file(), torn.offset, end).map_err(Error::storage(format!("cutting {name}")))?;
    tail.torn = None;
    Ok(())
}

/// The records of torn bytes that the log does not state yet.
pub(crate) fn unrecorded(storage: &Arc<Storage>, annex_of: &AnnexOf) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for file in torn_files(storage)? {
        if !is_recorded(storage, &file)? {
            let header = Bytes::from(file.record().encode_to_vec());
            records.push(Record::local(KIND, header, annex_of(KIND)));
        }
    }
    Ok(records)
}

/// Whether the log states these bytes. The records that do are the first after the cut, since
/// nothing else is appended before them.
fn is_recorded(storage: &Arc<Storage>, file: &TornFile) -> Result<bool, Error> {
    let storage = Arc::clone(storage);
    let mut walk = Walk::at_segment(storage, Contents::Check, file.segment)?;
    while let Step::Record(record, place) = walk.step()? {
        if (place.segment, place.frame) < (file.segment, file.offset) {
            continue;
        }
        if record.kept.kind != KIND {
            return Ok(false);
        }
        if TornRecord::decode(record.kept.header).is_ok_and(|torn| torn == file.record()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a copy of an interrupted recovery holds the tail: each byte of it, or a zero where
/// that recovery has already zeroed.
fn is_covered(
    storage: &Arc<Storage>,
    tail: &mut Window,
    segment: u64,
    offset: u64,
    end: u64,
) -> Result<bool, Error> {
    for file in torn_files(storage)? {
        let same_place = (file.segment, file.offset) == (segment, offset);
        if !same_place || file.length < end - offset || is_recorded(storage, &file)? {
            continue;
        }
        let mut copy = open(storage, &file.name)?;
        if covers(&mut copy, tail, offset, end).map_err(reading(&file.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn covers(copy: &mut Window, tail: &mut Window, offset: u64, end: u64) -> io::Result<bool> {
    let mut at = offset;
    while at < end {
        let length = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
        let left = tail.slice(at, length)?;
        let kept = copy.slice(at - offset, length)?;
        let same = |(left, kept): (&u8, &u8)| *left == 0 || left == kept;
        if left.is_empty() || left.len() != kept.len() || !left.iter().zip(kept).all(same) {
            return Ok(false);
        }
        at += left.len() as u64;
    }
    Ok(true)
}

/// A name that no file has yet: the same place can be torn again, by a crash while recovering.
fn free_name(storage: &Storage, segment: u64, offset: u64) -> Result<String, Error> {
    let names = storage
        .list("")
        .map_err(Error::storage("listing the log"))?;
    let first = format!("{segment:020}.{offset}.torn");
    let more = (2_u64..).map(|n| format!("{segment:020}.{offset}.{n}.torn"));
    let free = std::iter::once(first)
        .chain(more)
        .find(|name| !names.contains(name));
    Ok(free.unwrap_or_default())
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix(".torn")?.split('.');
    let segment = parts.next().filter(|part| part.len() == 20)?.parse().ok()?;
    let offset = parts.next()?.parse().ok()?;
    let known = match parts.next() {
        None => true,
        Some(number) => number.parse::<u64>().is_ok() && parts.next().is_none(),
    };
    known.then_some((segment, offset))
}

fn zero(file: &dyn File, offset: u64, end: u64) -> io::Result<()> {
    write_zeros(file, offset, end)?;
    file.sync()
}

/// Writes zeros from `offset` to `end`. They survive once the file was synced.
pub(crate) fn write_zeros(file: &dyn File, offset: u64, end: u64) -> io::Result<()> {
    let zeros = [0; PIECE];
    let mut at = offset;
    while at < end {
        let length = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
        let piece = zeros.get(..length).unwrap_or(&zeros);
        durable::write_at(file, &mut [IoSlice::new(piece)], at)?;
        at += length as u64;
    }
    Ok(())
}

fn open(storage: &Storage, name: &str) -> Result<Window, Error> {
    let opened = storage.open(name).and_then(Window::new);
    opened.map_err(Error::storage(format!("opening {name}")))
}

fn reading(name: &str) -> impl FnOnce(io::Error) -> Error {
    Error::storage(format!("reading {name}"))
}

/// A part of a file as a stream.
struct Range<'a> {
    file: &'a dyn File,
    offset: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let part = buffer.get_mut(..length).unwrap_or_default();
        let filled = durable::read_at(self.file, part, self.offset)?;
        self.offset += filled as u64;
        Ok(filled)
    }
}
