//! The file with the key of the hashes by which this server names data subjects.

use std::{io, os::unix::fs::PermissionsExt, path::PathBuf};

use durable::Posix;
use trust::subject::SubjectKey;

use crate::{random, settings::Settings};

/// For the owner alone: with the key, numbers can be tried out against the log.
const MODE: u32 = 0o600;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SubjectKeyError {
    /// There is none.
    #[error(
        "there is no {path}, the key by which this log names persons: restore it from the backup; \
         without it, what was recorded before is not found by person. A new one: \
         (umask 077; openssl rand -hex 32 > {path})"
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot use {path}, the key by which this log names persons")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{path} may be read by others than its owner: chmod 600")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It is none.
    #[error("{path} is no key: it holds 64 hexadecimal digits")]
    Invalid {
        /// The file.
        path: PathBuf,
    },
}

/// Where the key is: not beside the log, which is given to auditors.
pub(crate) fn path_of_key(settings: &Settings) -> PathBuf {
    settings.directory.join("subject-key")
}

/// Makes the key, if it is not there.
pub(crate) fn create_key(settings: &Settings) -> Result<(), SubjectKeyError> {
    let path = path_of_key(settings);
    let text = hex::encode(random::bytes::<{ SubjectKey::LENGTH }>()) + "\n";
    let made = durable::make_folder(&Posix, &settings.directory)
        .and_then(|()| durable::create(&Posix, &path, text.as_bytes(), MODE));
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|source| SubjectKeyError::File { path, source }),
    }
}

/// Reads the key.
pub(crate) fn read_key(settings: &Settings) -> Result<SubjectKey, SubjectKeyError> {
    let path = path_of_key(settings);
    let exposed = std::fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
    if exposed {
        return Err(SubjectKeyError::Exposed { path });
    }
    match std::fs::read_to_string(&path) {
        Ok(text) => SubjectKey::from_text(&text).ok_or(SubjectKeyError::Invalid { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(SubjectKeyError::Missing { path })
        }
        Err(source) => Err(SubjectKeyError::File { path, source }),
    }
}
