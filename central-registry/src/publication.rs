//! The published files: made from the log, each put whole and durable, the head last.
//!
//! ```text
//! root/<version>           signed root documents, from the anchor's on
//! snapshot/<serial>        the state that the head of this serial names
//! tile/<L>/<N>[.p/<W>]     hashes of the log (C2SP tlog-tiles)
//! entries/<N>[.p/<W>]      its records, 256 to a file: kind, length, entry, digest of the annex
//! blob/<SHA-256>           descriptor sets that the state names
//! checkpoint               the newest signed checkpoint
//! head                     checkpoint, publication and its proof: what servers fetch first
//! ```
//!
//! All but the last two never change. Snapshots, partial tiles and partial bundles of the newest
//! sixteen publications are kept; who is slower than that fetches the head again.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use durable::{FileSet, FileSystem};
use prost::Message;
use trust::{
    Digest,
    checkpoint::SignedCheckpoint,
    configuration::State,
    tile::{Bundle, FULL_WIDTH, Tile},
    wire::configuration::Head,
};

use crate::{Error, registry_log::RegistryLog};

/// How many publications keep the files that only they need.
const KEPT: usize = 16;
/// The most tile levels that a tree of 2^64 leaves has.
const TILE_LEVELS: u8 = 8;

/// A publication entry as it stands in the log.
#[derive(Debug, Clone)]
pub(crate) struct PublicationRecord {
    pub(crate) index: u64,
    pub(crate) entry: Bytes,
    pub(crate) annex_digest: Digest,
    pub(crate) state_root: Digest,
}

/// The folder of the published files.
pub(crate) struct PublicFiles {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
    /// The log size for which all tiles and bundles are there.
    complete: u64,
    /// The newest snapshot that was put, and the root of its state.
    snapshot: Option<(u64, Digest)>,
    /// Recorded, and named by the state from the next publication on.
    new_blobs: Vec<Bytes>,
}

impl PublicFiles {
    /// The files in a folder, none of which is believed to be complete.
    pub(crate) fn open(files: Arc<dyn FileSystem>, folder: &Path) -> Result<Self, Error> {
        durable::make_folder(&*files, folder).map_err(Error::file("making", folder))?;
        durable::remove_unfinished(&*files, folder).map_err(Error::file("cleaning", folder))?;
        Ok(Self {
            files,
            folder: folder.to_owned(),
            complete: 0,
            snapshot: None,
            new_blobs: Vec::new(),
        })
    }

    /// Whether what was published last is part of this log. If not, the log was replaced by an
    /// older or a different one, and to go on would fork it.
    pub(crate) fn check_log(&self, log: &RegistryLog) -> Result<(), Error> {
        let path = self.folder.join("checkpoint");
        let note = match durable::read(&*self.files, &path) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::file("reading", &path)(error)),
        };
        let published = SignedCheckpoint::parse(&note).map_err(|error| {
            let remedy = "if the log is the newest copy there is, remove this file and start again";
            Error::content(&path, format!("{error}; {remedy}"))
        })?;
        let published = published.unverified();
        if published.size > log.size() {
            return Err(Error::RolledBack(format!(
                "serial {} was published, but the log has only {} records",
                published.size,
                log.size()
            )));
        }
        if log.root_at(published.size)? != published.root {
            return Err(Error::RolledBack(format!(
                "serial {} was published with another root than the log has there",
                published.size
            )));
        }
        Ok(())
    }

    /// Puts a blob.
    pub(crate) fn put_blob(&self, blob: &[u8]) -> Result<(), Error> {
        let mut files = self.file_set();
        files
            .complete(&format!("blob/{}", Digest::of(blob)), blob)
            .and_then(|_| files.sync())
            .map_err(self.publishing())
    }

    /// Takes blobs to be put with the next publication.
    pub(crate) fn add_blobs(&mut self, blobs: Vec<Bytes>) {
        self.new_blobs.extend(blobs);
    }

    /// Publishes the state that `publication` names, under this checkpoint. Whatever of it is
    /// there already stays; a crash at any point leaves the former head and all it needs.
    pub(crate) fn publish(
        &mut self,
        log: &RegistryLog,
        checkpoint: &SignedCheckpoint,
        publication: &PublicationRecord,
        state: &State,
    ) -> Result<(), Error> {
        let serial = checkpoint.unverified().size;
        let mut files = self.file_set();
        // First of all, so that its name tells a later start which partial files were made.
        let root = publication.state_root;
        self.put_snapshot(&mut files, serial, state, root)?;
        for blob in &self.new_blobs {
            let name = format!("blob/{}", Digest::of(blob));
            files.complete(&name, blob).map_err(self.publishing())?;
        }
        for tile in Tile::added(self.complete, serial) {
            let completed = files.complete(&tile.to_string(), &log.tile(tile)?);
            completed.map_err(self.publishing())?;
        }
        for bundle in Bundle::added(self.complete, serial) {
            let completed = files.complete(&bundle.to_string(), &log.bundle(bundle)?);
            completed.map_err(self.publishing())?;
        }
        files.sync().map_err(self.publishing())?;
        let head = Head {
            checkpoint: checkpoint.as_bytes().clone(),
            entry: publication.entry.clone(),
            annex_digest: publication.annex_digest.to_bytes(),
            index: publication.index,
            proof: log
                .inclusion(publication.index, serial)?
                .into_iter()
                .map(Digest::to_bytes)
                .collect(),
        };
        for (name, bytes) in [
            ("checkpoint", checkpoint.as_bytes().as_ref()),
            ("head", &head.encode_to_vec()),
        ] {
            let put = files.put(name, bytes).and_then(|()| files.sync());
            put.map_err(self.publishing())?;
        }
        self.complete = serial;
        self.new_blobs.clear();
        self.snapshot = Some((serial, root));
        self.remove_outdated(serial)
    }

    fn file_set(&self) -> FileSet<'_> {
        FileSet::new(&*self.files, &self.folder, 0o644)
    }

    fn publishing(&self) -> impl FnOnce(io::Error) -> Error + use<'_> {
        Error::file("publishing in", &self.folder)
    }

    fn put_snapshot(
        &self,
        files: &mut FileSet<'_>,
        serial: u64,
        state: &State,
        root: Digest,
    ) -> Result<(), Error> {
        let name = format!("snapshot/{serial}");
        if let Some((former, of_root)) = self.snapshot {
            let same = of_root == root && former != serial;
            if same && files.link(&format!("snapshot/{former}"), &name).is_ok() {
                return Ok(());
            }
        }
        files
            .complete(&name, &state.to_snapshot().encode_to_vec())
            .map(drop)
            .map_err(self.publishing())
    }

    /// Removes what only publications before the newest sixteen needed.
    fn remove_outdated(&self, newest: u64) -> Result<(), Error> {
        let folder = self.folder.join("snapshot");
        let listed = self.files.list(&folder);
        let mut serials: Vec<u64> = listed
            .map_err(Error::file("listing", &folder))?
            .iter()
            .filter_map(|entry| entry.name.to_str()?.parse().ok())
            .filter(|serial| *serial <= newest)
            .collect();
        serials.sort_unstable();
        let outdated = serials.len().saturating_sub(KEPT);
        let (outdated, kept) = serials.split_at(outdated);
        let needed: BTreeSet<String> = kept.iter().flat_map(|serial| partial(*serial)).collect();
        for serial in outdated {
            // The snapshot last: as long as it is there, a later start finds the others.
            let unneeded = partial(*serial).filter(|name| !needed.contains(name));
            for name in unneeded.chain([format!("snapshot/{serial}")]) {
                let path = self.folder.join(name);
                durable::remove_if_there(&*self.files, &path)
                    .map_err(Error::file("removing", path))?;
            }
        }
        Ok(())
    }
}

/// The names of the files at the right edge of a log of `size` records that are not full.
fn partial(size: u64) -> impl Iterator<Item = String> {
    let tiles = (0..TILE_LEVELS).filter_map(move |level| {
        let edge = size.checked_shr(u32::from(level) * 8)? / u64::from(FULL_WIDTH);
        let tile = Tile::of_size(level, edge, size)?;
        (tile.width() < FULL_WIDTH).then(|| tile.to_string())
    });
    let bundle = Bundle::added(size.saturating_sub(1), size).last();
    let bundle = bundle.filter(|bundle| bundle.width() < FULL_WIDTH);
    tiles.chain(bundle.map(|bundle| bundle.to_string()))
}

#[cfg(test)]
mod matrix;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_files_are_those_at_the_edge() {
        let names = |size| partial(size).collect::<Vec<_>>();
        assert_eq!(names(1), ["tile/0/000.p/1", "entries/000.p/1"]);
        assert_eq!(names(256), ["tile/1/000.p/1"]);
        assert_eq!(
            names(300),
            ["tile/0/001.p/44", "tile/1/000.p/1", "entries/001.p/44"]
        );
        assert!(names(0).is_empty());
    }
}
