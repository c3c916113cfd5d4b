//! The zip file around a container: written the same way always, read with every size bounded.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use bytes::Bytes;
use durable::FileSystem;
use zip::{
    CompressionMethod, ZipArchive, ZipWriter,
    read::{ArchiveOffset, Config},
    result::ZipError,
    write::SimpleFileOptions,
};

use super::{
    MIME_TYPE,
    files::{Files, MIME_TYPE_FILE},
};

/// The most files, as many as a zip file without extensions has.
const FILES: usize = 65_534;
/// The largest file in it; contents of messages are the largest.
const FILE_SIZE: u64 = 80 * 1024 * 1024;
/// The most bytes of all files together.
const SIZE: u64 = 1536 * 1024 * 1024;
/// The record at the end of a zip file, when it has no comment.
const END: usize = 22;

/// Writes the files into a new file that only this user can read: whole, or not at all.
///
/// # Errors
/// `AlreadyExists`, or when it cannot be written.
pub(crate) fn write(disk: &dyn FileSystem, path: &Path, files: &Files) -> io::Result<()> {
    durable::create(disk, path, &zipped(files)?, 0o600)
}

fn zipped(files: &Files) -> io::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .unix_permissions(0o644);
    // The first bytes of the file say what it is.
    let first = files.get_key_value(MIME_TYPE_FILE);
    let others = files.iter().filter(|(name, _)| *name != MIME_TYPE_FILE);
    for (name, bytes) in first.into_iter().chain(others) {
        zip.start_file(name.as_str(), options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Reads all files of a container that somebody else made.
///
/// # Errors
/// In words, when it is none or larger than any.
pub(crate) fn read(path: &Path) -> Result<Files, NotRead> {
    let mut file = File::open(path)?;
    let stated = number_of_files(&mut file)?;
    let beginning = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let headers = file.try_clone()?;
    let mut zip = ZipArchive::with_config(beginning, io::BufReader::new(file))?;
    // Of two files of one name, tools read different ones.
    if zip.len() != stated {
        return Err(NotRead::Form("two of its files have one name".to_owned()));
    }
    // What tools read from the directory and what they read from the files is the same.
    zip.validate_header_consistency()?;
    let mut files = BTreeMap::new();
    // Where the files begin and end.
    let mut places = BTreeMap::new();
    let mut left = SIZE;
    for position in 0..zip.len() {
        let entry = zip.by_index(position)?;
        let name = entry.name()?.into_owned();
        if entry.compression() != CompressionMethod::Stored {
            return Err(NotRead::Form(format!("{name:?} is compressed")));
        }
        if entry.size() > FILE_SIZE.min(left) {
            return Err(NotRead::Form(format!(
                "{name:?} is larger than any that belongs there"
            )));
        }
        // Some tools show extensions and comments: nothing is hidden there either. Their lengths
        // stand behind that of the name, also where the directory has both (APPNOTE 4.3.7, 4.3.12).
        let (mut here, mut listed) = ([0; 2], [0; 4]);
        headers.read_exact_at(&mut here, entry.header_start() + 28)?;
        headers.read_exact_at(&mut listed, entry.central_header_start() + 30)?;
        if here != [0; 2] || listed != [0; 4] {
            let problem = format!("{name:?} has an extension or a comment");
            return Err(NotRead::Form(problem));
        }
        let end = entry.data_start().unwrap_or_default() + entry.size();
        places.insert(entry.header_start(), (end, name == MIME_TYPE_FILE));
        let mut bytes = Vec::new();
        entry.take(FILE_SIZE.min(left)).read_to_end(&mut bytes)?;
        left -= bytes.len() as u64;
        files.insert(name, Bytes::from(bytes));
    }
    if files
        .get(MIME_TYPE_FILE)
        .is_none_or(|found| found != MIME_TYPE)
    {
        return Err(NotRead::Form(
            "it does not say that it is an ASiC-E container".to_owned(),
        ));
    }
    check_places(&places, zip.central_directory_start())?;
    Ok(files)
}

/// Whether the files stand one after the other from the first byte on, the type first: nothing is
/// hidden before, between or behind them.
fn check_places(places: &BTreeMap<u64, (u64, bool)>, directory: u64) -> Result<(), NotRead> {
    if places.values().next().is_none_or(|(_, is_type)| !is_type) {
        let problem = format!("its first file is not {MIME_TYPE_FILE}");
        return Err(NotRead::Form(problem));
    }
    let mut reached = 0;
    for (begin, (end, _)) in places {
        if *begin != reached {
            break;
        }
        reached = *end;
    }
    if reached == directory {
        return Ok(());
    }
    Err(NotRead::Form(format!(
        "there are bytes at {reached} that belong to no file"
    )))
}

/// How many files the end of a zip file states. Containers have no comment and no extensions.
fn number_of_files(file: &mut File) -> Result<usize, NotRead> {
    let no_zip = || NotRead::Form("it is no zip file as containers are".to_owned());
    let length = file.seek(SeekFrom::End(0))?;
    if length < END as u64 {
        return Err(no_zip());
    }
    file.seek(SeekFrom::End(-(END as i64)))?;
    let mut end = [0; END];
    file.read_exact(&mut end)?;
    file.rewind()?;
    // The directory reaches from where the end says it begins to the end.
    let number = |from: usize| {
        let bytes = end.get(from..).and_then(|bytes| bytes.first_chunk());
        bytes.copied().map_or(0, u32::from_le_bytes)
    };
    let (size, begin) = (number(12), number(16));
    if u64::from(size) + u64::from(begin) != length - END as u64 {
        return Err(no_zip());
    }
    match end {
        [
            b'P',
            b'K',
            5,
            6,
            0,
            0,
            0,
            0,
            low,
            high,
            same_low,
            same_high,
            ..,
            0,
            0,
        ] if (low, high) == (same_low, same_high) => {
            let count = usize::from(u16::from_le_bytes([low, high]));
            if count > FILES {
                return Err(no_zip());
            }
            Ok(count)
        }
        _ => Err(no_zip()),
    }
}

/// Why a container cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// The file system failed.
    #[error("the file cannot be read")]
    File(#[from] io::Error),
    /// It is no zip file.
    #[error("it is no zip file")]
    Zip(#[from] ZipError),
    /// It is no container.
    #[error("{0}")]
    Form(String),
}
