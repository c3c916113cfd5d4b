//! The ways to write what must stay. A name means the old file or the whole new one, never a mixture.

use std::{
    ffi::OsString,
    io::{self, IoSlice, Read},
    path::{Path, PathBuf},
};

use crate::{
    blocks::{BLOCK, BlockBuffer},
    file_system::{Access, File, FileSystem},
};

/// What the names of files that are being made end with; they begin with a dot.
const UNFINISHED: &str = ".new";

/// Puts `bytes` in place of any file of that name. When this returns, they survive a power cut;
/// after one before that, the name means the old file (or none) or the whole new one. One thread at
/// a time writes a name.
///
/// # Errors
/// When the file cannot be made; whether the name means the new one is then unknown.
pub fn replace(files: &dyn FileSystem, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_from(files, path, &mut &*bytes, bytes.len() as u64, mode)
}

/// The same with `contents` and then zeros, together `length` bytes.
///
/// # Errors
/// As [`replace`].
pub fn replace_from(
    files: &dyn FileSystem,
    path: &Path,
    contents: &mut dyn Read,
    length: u64,
    mode: u32,
) -> io::Result<()> {
    let unfinished = write_beside(files, path, contents, length, mode)?;
    put_in_place(files, &unfinished, path)?;
    files.sync_folder(folder_of(path))
}

/// Puts `bytes` into a file that is not there yet. When this returns, it survives a power cut;
/// after one before that, it is there whole or not at all.
///
/// # Errors
/// `AlreadyExists` when something of that name is there; else when the file cannot be made, and
/// then it may be there whole.
pub fn create(files: &dyn FileSystem, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let unfinished = write_beside(files, path, &mut &*bytes, bytes.len() as u64, mode)?;
    // A link fails if the name is taken, where a rename would replace the file.
    let linked = files.link(&unfinished, path);
    let removed = files.remove(&unfinished);
    linked.and(removed)?;
    files.sync_folder(folder_of(path))
}

/// Moves a file or a folder, in place of any file that has the new name. When this returns, that
/// survives a power cut. What is in a folder survives as it was synced.
///
/// # Errors
/// When it cannot be moved; whether it was is then unknown.
pub fn rename(files: &dyn FileSystem, from: &Path, to: &Path) -> io::Result<()> {
    files.rename(from, to)?;
    files.sync_folder(folder_of(to))
}

/// Makes a folder and those above it as far as they are not there. When this returns, they survive
/// a power cut.
///
/// # Errors
/// When one of them cannot be made.
pub fn make_folder(files: &dyn FileSystem, path: &Path) -> io::Result<()> {
    let Some(above) = path.parent() else {
        return Ok(());
    };
    match files.make_folder(path) {
        Ok(()) => {
            // The one above may be from a process that ended before it could sync its name.
            sync_if_ours(files, folder_of(above))?;
            files.sync_folder(folder_of(path))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            sync_if_ours(files, folder_of(path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_folder(files, above)?;
            files.make_folder(path)?;
            files.sync_folder(folder_of(path))
        }
        Err(error) => Err(error),
    }
}

/// Syncs a folder unless we may not look into it: then others make what is in it.
fn sync_if_ours(files: &dyn FileSystem, folder: &Path) -> io::Result<()> {
    match files.sync_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Removes the files that were being made, in a folder and those below it, when a process ended.
///
/// # Errors
/// When a folder cannot be read or a file not be removed.
pub fn remove_unfinished(files: &dyn FileSystem, folder: &Path) -> io::Result<()> {
    for entry in files.list(folder)? {
        let path = folder.join(&entry.name);
        let name = entry.name.to_string_lossy();
        if entry.is_folder {
            remove_unfinished(files, &path)?;
        } else if name.starts_with('.') && name.ends_with(UNFINISHED) {
            // If it comes back, it is removed another time.
            files.remove(&path)?;
        }
    }
    Ok(())
}

/// Removes a file, unless it is not there.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_if_there(files: &dyn FileSystem, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The whole contents of a file.
///
/// # Errors
/// `NotFound` when there is none; else when it cannot be read.
pub fn read(files: &dyn FileSystem, path: &Path) -> io::Result<Vec<u8>> {
    let file = files.open(path, Access::Read)?;
    let mut bytes = vec![0; usize::try_from(file.length()?).map_err(io::Error::other)?];
    let filled = read_at(&*file, &mut bytes, 0)?;
    bytes.truncate(filled);
    Ok(bytes)
}

/// Fills the buffer from `offset` on as far as the file reaches, and says how far.
///
/// # Errors
/// When it cannot be read.
pub fn read_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all parts one after the other from `offset` on. They survive once the file was synced.
///
/// # Errors
/// When not all was written; any part of it may have been.
pub fn write_at(file: &dyn File, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    // The kernel takes at most this many parts in one call (IOV_MAX).
    const MOST_PARTS: usize = 1024;
    let (mut parts, mut offset) = (parts, offset);
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        let most = parts.get(..MOST_PARTS).unwrap_or(parts);
        match file.write(most, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a file beside the one that it shall become, and syncs it. Gives its name.
pub(crate) fn write_beside(
    files: &dyn FileSystem,
    path: &Path,
    contents: &mut dyn Read,
    length: u64,
    mode: u32,
) -> io::Result<PathBuf> {
    let unfinished = beside(path)?;
    // Never written over: it may be a second name of a file that is in use.
    remove_if_there(files, &unfinished)?;
    let written = write_synced(files, &unfinished, contents, length, mode);
    written
        .inspect_err(|_| drop(files.remove(&unfinished)))
        .map(|()| unfinished)
}

/// Lets the name mean the file that was made for it.
pub(crate) fn put_in_place(
    files: &dyn FileSystem,
    unfinished: &Path,
    path: &Path,
) -> io::Result<()> {
    let renamed = files.rename(unfinished, path);
    renamed.inspect_err(|_| drop(files.remove(unfinished)))
}

/// The name of a file while it is being made. It has the number of the process, since two may be
/// asked for the same file by hand.
pub(crate) fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut beside = OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}{UNFINISHED}", std::process::id()));
    Ok(path.with_file_name(beside))
}

/// The folder that the name stands in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|path| !path.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

fn write_synced(
    files: &dyn FileSystem,
    path: &Path,
    contents: &mut dyn Read,
    length: u64,
    mode: u32,
) -> io::Result<()> {
    let file = files.create(path, mode)?;
    match file.allocate(length) {
        Err(error) if is_full(&error) => return Err(error),
        // What cannot allocate, or has nothing to allocate, is noticed by the writes.
        _ => {}
    }
    // What is made of whole blocks is made to be written over by blocks, and not soon read.
    let file = match length.is_multiple_of(BLOCK as u64) {
        true => files.open(path, Access::Blocks)?,
        false => file,
    };
    let mut contents = contents.take(length);
    let mut buffer = BlockBuffer::default();
    let (mut offset, mut used) = (0, 0);
    while offset < length {
        let piece = buffer.blocks();
        let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
        let most = left.min(piece.len());
        let piece = piece.get_mut(..most).unwrap_or_default();
        let filled = read_whole(&mut contents, piece)?;
        // What was never used is zeros already, and most of what is made is nothing else.
        if let Some(rest) = piece.get_mut(filled..).filter(|_| used > filled) {
            rest.fill(0);
        }
        used = filled;
        write_at(&*file, &mut [IoSlice::new(piece)], offset)?;
        offset += piece.len() as u64;
    }
    file.sync()
}

/// As much as there is and has room.
fn read_whole(contents: &mut dyn Read, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = room.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match contents.read(rest) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether the disk, or the share of it that this user may fill, is full.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::Disk;

    /// However much of the memory is used for the contents, what follows them are zeros.
    #[test]
    fn behind_the_contents_there_are_zeros() {
        let disk = Disk::default();
        let path = Path::new("/file");
        let mut memory = BlockBuffer::default();
        let piece = memory.blocks().len();
        for (contents, length) in [
            (0, 0),
            (0, 3 * piece),
            (700, 700),
            (700, 3 * piece),
            (piece, 2 * piece),
            (piece + 700, 4 * piece),
            (2 * piece + 1, 3 * piece + 5),
        ] {
            let mut expected = vec![7; contents];
            replace_from(&disk, path, &mut expected.as_slice(), length as u64, 0o600).unwrap();
            expected.resize(length, 0);
            assert!(
                read(&disk, path).unwrap() == expected,
                "{contents} of {length}"
            );
        }
    }
}
