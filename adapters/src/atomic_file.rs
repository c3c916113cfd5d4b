//! Writing a file in one step: a reader sees the earlier content or the new one, never a part.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Writes beside the file, syncs, renames over it, and syncs the folder.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = File::create(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&beside, path))
        .inspect_err(|_| {
            // The first error is the one to report; a file that was never made cannot be removed.
            let _ = fs::remove_file(&beside);
        })?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
