//! The small files of a log: its identity, its newest checkpoint, its reserve.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use trust::{
    Digest,
    checkpoint::{self, Origin, SignedCheckpoint},
};

use crate::{
    error::{Error, is_disk_full},
    storage::Storage,
};

const IDENTITY: &str = "identity";
const CHECKPOINT: &str = "checkpoint";
const RESERVE: &str = "reserve";
const FIRST_LINE: &str = "lienthong log 1";
const MAX_IDENTITY: usize = 1024;

/// Whose log it is. The file has two lines, `lienthong log 1` and the origin; the header of the
/// first segment repeats its digest.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) origin: Origin,
    pub(crate) digest: Digest,
}

impl Identity {
    pub(crate) fn of(origin: &Origin) -> Self {
        Self {
            origin: origin.clone(),
            digest: Digest::of(text(origin).as_bytes()),
        }
    }

    pub(crate) fn read(storage: &Storage) -> Result<Self, Error> {
        let bytes = read_small(storage, IDENTITY, MAX_IDENTITY)?.ok_or(Error::Absent)?;
        let origin: Origin = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.strip_prefix(FIRST_LINE)?.strip_prefix('\n'))
            .and_then(|text| text.strip_suffix('\n'))
            .ok_or(Error::Identity("it is not the two lines it should be"))?
            .parse()
            .map_err(|_| Error::Identity("the origin is invalid"))?;
        Ok(Self::of(&origin))
    }

    pub(crate) fn write(&self, storage: &Storage) -> Result<(), Error> {
        create(storage, IDENTITY, text(&self.origin).as_bytes())
    }
}

fn text(origin: &Origin) -> String {
    format!("{FIRST_LINE}\n{origin}\n")
}

/// The newest checkpoint of the log; its signature is verified by whoever has the key.
pub(crate) fn read_checkpoint(
    storage: &Storage,
    origin: &Origin,
) -> Result<Option<SignedCheckpoint>, Error> {
    let Some(note) = read_small(storage, CHECKPOINT, checkpoint::MAX_LENGTH)? else {
        return Ok(None);
    };
    let signed = SignedCheckpoint::parse(&note).map_err(Error::StoredCheckpoint)?;
    let found = &signed.unverified().origin;
    if found != origin {
        return Err(Error::ForeignCheckpoint {
            expected: origin.clone(),
            found: found.clone(),
        });
    }
    Ok(Some(signed))
}

/// Keeps a checkpoint in place of the one before.
pub(crate) fn write_checkpoint(storage: &Storage, signed: &SignedCheckpoint) -> Result<(), Error> {
    create(storage, CHECKPOINT, signed.as_bytes())
}

/// Space held for what must be written even when the disk is full.
pub(crate) struct Reserve {
    size: u64,
    released: AtomicBool,
}

impl Reserve {
    /// Not made yet.
    pub(crate) const fn new(size: u64) -> Self {
        Self {
            size,
            released: AtomicBool::new(true),
        }
    }

    /// Whether it was given up; ordinary records are refused until it is restored.
    pub(crate) fn is_released(&self) -> bool {
        self.released.load(Ordering::Acquire)
    }

    /// Makes the reserve if it is not there; says whether it is now.
    pub(crate) fn restore(&self, storage: &Storage) -> Result<bool, Error> {
        let names = storage
            .list("")
            .map_err(Error::storage("listing the log"))?;
        if !names.iter().any(|name| name == RESERVE) {
            match storage.create(RESERVE, &mut io::empty(), self.size) {
                Ok(()) => {}
                Err(error) if is_disk_full(&error) => return Ok(false),
                Err(error) => return Err(Error::storage("making the reserve")(error)),
            }
        }
        self.released.store(false, Ordering::Release);
        Ok(true)
    }

    /// Does something that must not fail for lack of space: if the disk is full, gives up the
    /// reserve and tries once more.
    pub(crate) fn draw<T>(
        &self,
        storage: &Storage,
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match attempt() {
            Err(error) if error.is_disk_full() && !self.released.swap(true, Ordering::AcqRel) => {
                tracing::warn!("the disk is full: the log gives up its reserve");
                storage
                    .remove(RESERVE)
                    .map_err(Error::storage("releasing the reserve"))?;
                attempt()
            }
            outcome => outcome,
        }
    }

    /// The size of a segment that fits into the space of the reserve, beside a checkpoint.
    pub(crate) const fn segment_size(&self) -> u64 {
        self.size / 2
    }
}

fn create(storage: &Storage, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let mut contents = bytes;
    storage
        .create(name, &mut contents, bytes.len() as u64)
        .map_err(Error::storage(format!("writing {name}")))
}

/// Reads a whole file of at most `limit` bytes; none if it is not there.
fn read_small(storage: &Storage, name: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    let reading = |error| Error::storage(format!("reading {name}"))(error);
    let file = match storage.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading(error)),
    };
    let mut bytes = vec![0; limit + 1];
    let length = durable::read_at(&*file, &mut bytes, 0).map_err(reading)?;
    bytes.truncate(length);
    Ok(Some(bytes))
}
