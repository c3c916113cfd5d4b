//! The configuration as it is kept on disk: the head in one file, the state that it names in another.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use durable::FileSystem;
use serde::{Deserialize, Serialize};
use trust::{Digest, Reason, Refusal};

use super::KeptError;

const MODE: u32 = 0o644;

/// The folder that it is kept in.
pub(crate) struct KeptConfiguration {
    files: Arc<dyn FileSystem>,
    folder: PathBuf,
}

/// What is kept besides the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Signed root documents from the anchor's on.
    pub(super) root_documents: Vec<Bytes>,
    pub(super) head: Bytes,
    pub(super) newest_issued_at: i64,
}

/// The same as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Written {
    root_documents: Vec<String>,
    head: String,
    newest_issued_at: i64,
}

impl KeptConfiguration {
    /// Makes the folder if it is not there.
    pub(crate) fn open(files: Arc<dyn FileSystem>, folder: PathBuf) -> Result<Self, KeptError> {
        let made = durable::make_folder(&*files, &folder)
            .and_then(|()| durable::remove_unfinished(&*files, &folder));
        match made {
            Ok(()) => Ok(Self { files, folder }),
            Err(source) => Err(KeptError::File {
                path: folder,
                source,
            }),
        }
    }

    /// What is kept; none if nothing is.
    pub(super) fn read(&self) -> Result<Option<Found>, KeptError> {
        let path = self.path();
        match durable::read(&*self.files, &path) {
            Ok(bytes) => decoded(&bytes)
                .map(Some)
                .map_err(|refusal| self.invalid(refusal)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeptError::File { path, source }),
        }
    }

    /// The state with this root.
    pub(super) fn state(&self, root: Digest) -> Result<Bytes, Refusal> {
        let path = self.state_path(root);
        let state = durable::read(&*self.files, &path);
        let unreadable = |error| unusable(format!("cannot read {}: {error}", path.display()));
        Ok(state.map_err(unreadable)?.into())
    }

    /// Keeps a configuration in place of the one before: first the state, then the head that names
    /// it. Blocks on files.
    pub(super) fn write(
        &self,
        found: &Found,
        root: Digest,
        state: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<()> {
        let (files, state_path) = (&*self.files, self.state_path(root));
        if !self.has(&state_path)? {
            durable::replace(files, &state_path, &state(), MODE)?;
        }
        let encode = |bytes: &Bytes| STANDARD.encode(bytes);
        let text = serde_json::to_string_pretty(&Written {
            root_documents: found.root_documents.iter().map(encode).collect(),
            head: encode(&found.head),
            newest_issued_at: found.newest_issued_at,
        })?;
        durable::replace(files, &self.path(), text.as_bytes(), MODE)?;
        self.remove_other_states(&state_path)
    }

    pub(super) fn invalid(&self, refusal: Refusal) -> KeptError {
        KeptError::Invalid {
            path: self.folder.clone(),
            refusal,
        }
    }

    fn has(&self, path: &Path) -> io::Result<bool> {
        match self.files.open(path, durable::Access::Read) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn remove_other_states(&self, keep: &Path) -> io::Result<()> {
        for entry in self.files.list(&self.folder)? {
            let path = self.folder.join(&entry.name);
            if entry.name.to_string_lossy().starts_with("state-") && path != keep {
                self.files.remove(&path)?;
            }
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.join("configuration.json")
    }

    fn state_path(&self, root: Digest) -> PathBuf {
        self.folder.join(format!("state-{root}"))
    }
}

fn decoded(bytes: &[u8]) -> Result<Found, Refusal> {
    let written: Written =
        serde_json::from_slice(bytes).map_err(|error| unusable(error.to_string()))?;
    let decode = |text: &String| {
        let bytes = STANDARD.decode(text).map(Bytes::from);
        bytes.map_err(|error| unusable(error.to_string()))
    };
    Ok(Found {
        root_documents: written
            .root_documents
            .iter()
            .map(decode)
            .collect::<Result<_, _>>()?,
        head: decode(&written.head)?,
        newest_issued_at: written.newest_issued_at,
    })
}

fn unusable(what: String) -> Refusal {
    Refusal::new(Reason::InvalidConfiguration, what)
}

#[cfg(test)]
mod tests {
    use durable::simulated::{Disk, every_fault};

    use super::*;

    fn version(number: u8) -> (Found, Digest, Vec<u8>) {
        let state = vec![number; 2000];
        let found = Found {
            root_documents: vec![Bytes::from_static(b"root"); 30],
            head: Bytes::from(vec![number; 600]),
            newest_issued_at: number.into(),
        };
        (found, Digest::of(&state), state)
    }

    fn write(kept: &KeptConfiguration, number: u8) -> io::Result<()> {
        let (found, root, state) = version(number);
        kept.write(&found, root, || state)
    }

    fn open(disk: &Disk) -> Result<KeptConfiguration, KeptError> {
        KeptConfiguration::open(Arc::new(disk.clone()), "/server/state".into())
    }

    #[test]
    fn a_configuration_is_kept_whole_or_the_one_before_is() {
        let prepared = Disk::default();
        write(&open(&prepared).unwrap(), 1).unwrap();
        let cells = every_fault(
            &prepared,
            |disk| {
                let mut possible = vec![1];
                let Ok(kept) = open(disk) else {
                    return possible;
                };
                for number in [2, 3] {
                    let written = write(&kept, number);
                    if written.is_ok() {
                        possible.clear();
                    }
                    possible.push(number);
                    if written.is_err() {
                        break;
                    }
                }
                possible
            },
            |disk, possible| {
                let kept = open(disk).unwrap();
                let found = kept.read().unwrap().unwrap();
                let number = u8::try_from(found.newest_issued_at).unwrap();
                assert!(possible.contains(&number), "{number}, not of {possible:?}");
                let (expected, root, state) = version(number);
                assert_eq!(found, expected);
                assert_eq!(kept.state(root).unwrap(), state);
                // Going on works, and clears away what was left.
                write(&kept, 4).unwrap();
                assert_eq!(disk.paths().len(), 2);
                *possible = vec![4];
            },
        );
        println!("the configuration that a server keeps: {cells}");
    }
}
