//! Opening a log: reads on from what the views know, cuts what a crash has torn, repairs the views.

use std::{fs, io, path::Path, sync::Arc};

use trust::{
    checkpoint::{Origin, SignedCheckpoint},
    merkle::{self, Frontier},
};

use crate::{
    erasure::{self, Gone},
    error::Error,
    files::{self, Identity},
    flat::{Additions, FlatView},
    format::{Chain, segment_name},
    options::Options,
    reader::leaf_of_record,
    shared::{Shared, UNUSABLE},
    storage::Storage,
    torn,
    walk::{Step, Tail, Walk},
    window::Contents,
    writer::{Writer, new_segment_header},
};

/// How far a long read of the log has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Records read.
    pub records: u64,
    /// Bytes of segments read, about.
    pub bytes: u64,
    /// Bytes of segments there are.
    pub of_bytes: u64,
}

/// Progress is told after this many records.
pub(crate) const PROGRESS: u64 = 1024;

/// Makes a new log: identity and first segment.
pub(crate) fn create(storage: &Storage, origin: &Origin, options: &Options) -> Result<(), Error> {
    options.check()?;
    storage
        .make_folders()
        .map_err(Error::storage("making the folders"))?;
    for folder in ["", "segments"] {
        let names = storage
            .list(folder)
            .map_err(Error::storage("listing the folder"))?;
        if let Some(name) = names.into_iter().find(|name| name != "lock") {
            return Err(Error::NotEmpty(name));
        }
    }
    let identity = Identity::of(origin);
    let previous = Chain {
        end: 0,
        hash: identity.digest,
    };
    let length = options.segment_size;
    let header = new_segment_header(options.segment_id_of, 0, length, [0; 16], previous)?;
    storage
        .create(&segment_name(0), &mut header.encode().as_slice(), length)
        .map_err(Error::storage("making the first segment"))?;
    // The log exists from here on.
    identity.write(storage)
}

/// What opening finds.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) checkpoint: Option<SignedCheckpoint>,
    /// All that was read; it extends the checkpoint.
    pub(crate) tree: Frontier,
}

pub(crate) fn open(
    storage: Arc<Storage>,
    views: &Path,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, Error> {
    options.check()?;
    let identity = Identity::read(&storage)?;
    storage
        .settle()
        .map_err(Error::storage("cleaning the log"))?;
    erasure::finish(&storage)?;
    let checkpoint = files::read_checkpoint(&storage, &identity.origin)?;
    let mut opening = Opening {
        storage: Arc::clone(&storage),
        identity,
        options,
        checkpoint,
    };
    let mut read = opening.read(views, progress)?;
    // Only now: a log whose signed records are gone is left as it was found.
    opening.checkpoint_must_be_reached(read.tail.index)?;
    let Opening {
        identity,
        options,
        checkpoint,
        ..
    } = opening;
    let views = (views.to_owned(), read.flat);
    let tree = read.frontier.clone();
    let frontier = read.frontier.clone();
    let shared = Shared::new(Arc::clone(&storage), identity, options, views, frontier);
    shared.reserve.restore(&storage)?;
    torn::write_again(&storage, &read.tail)?;
    torn::cut(&storage, &shared.reserve, &mut read.tail)?;
    let unrecorded = torn::unrecorded(&storage, &shared.options.annex_of)?;
    let shared = Arc::new(shared);
    let mut writer = Writer::new(Arc::clone(&shared), read.tail, read.frontier)?;
    if !unrecorded.is_empty() {
        writer.append_at_start(unrecorded)?;
    }
    Ok(Opened {
        shared,
        writer,
        checkpoint,
        tree,
    })
}

struct Opening {
    storage: Arc<Storage>,
    identity: Identity,
    options: Options,
    checkpoint: Option<SignedCheckpoint>,
}

/// The log as read, and its views as repaired.
struct Read {
    tail: Tail,
    frontier: Frontier,
    flat: FlatView,
}

/// Where reading starts, and what the views know.
struct Start {
    walk: Walk,
    frontier: Frontier,
    flat: FlatView,
}

impl Opening {
    /// Reads from the newest checkpoint on if the views are right, else everything. Whatever is
    /// wrong when the views are believed is asked again without them.
    fn read(&mut self, views: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Read, Error> {
        if let Some(start) = self.start_from_views(views) {
            match self.replay(start, progress) {
                Ok(read) => return Ok(read),
                Err(error) => tracing::warn!(%error, "reading on from the views failed"),
            }
        }
        self.replay(self.start_anew(views)?, progress)
    }

    /// None if the views are missing, behind, or contradict the log.
    fn start_from_views(&self, views: &Path) -> Option<Start> {
        if views.join(UNUSABLE).exists() {
            return None;
        }
        let signed = self.checkpoint.as_ref()?.unverified().size;
        let flat = FlatView::open(views).ok()?;
        let known = signed.min(flat.size().ok()?);
        let place = flat.place(known.checked_sub(1)?).ok()?;
        let storage = Arc::clone(&self.storage);
        let walk = Walk::at_batch(storage, Contents::Check, place.segment, place.batch).ok()?;
        // The checkpoint must be reached, so that its root is compared.
        if walk.index() >= known {
            return None;
        }
        let frontier = Frontier::read(&flat, walk.index()).ok()?;
        Some(Start {
            walk,
            frontier,
            flat,
        })
    }

    fn start_anew(&self, views: &Path) -> Result<Start, Error> {
        match fs::remove_dir_all(views) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::storage("removing the views")(error));
            }
            _ => {}
        }
        let flat = FlatView::open(views).map_err(Error::storage("making the views"))?;
        let storage = Arc::clone(&self.storage);
        Ok(Start {
            walk: Walk::start(storage, Contents::Check, self.identity.digest)?,
            frontier: Frontier::new(),
            flat,
        })
    }

    fn replay(&self, start: Start, progress: &mut dyn FnMut(Progress)) -> Result<Read, Error> {
        let Start {
            mut walk,
            mut frontier,
            flat,
        } = start;
        flat.truncate(frontier.size()).map_err(writing_views)?;
        let mut additions = Additions::after(&frontier);
        let mut gone = Gone::default();
        loop {
            let (record, place) = match walk.step()? {
                Step::Record(record, place) => (record, place),
                Step::End(tail) => {
                    gone.must_be_explained()?;
                    flat.write(&additions).map_err(writing_views)?;
                    return Ok(Read {
                        tail,
                        frontier,
                        flat,
                    });
                }
            };
            let leaf = leaf_of_record(self.options.leaf_of, &record, place)?.leaf();
            gone.pass(&record, place);
            additions.push(&mut frontier, leaf, place);
            self.checkpoint_must_match(&frontier)?;
            if frontier.size().is_multiple_of(PROGRESS) {
                flat.write(&additions).map_err(writing_views)?;
                additions = Additions::after(&frontier);
                let (bytes, of_bytes) = walk.progress();
                progress(Progress {
                    records: frontier.size(),
                    bytes,
                    of_bytes,
                });
            }
        }
    }

    fn checkpoint_must_match(&self, frontier: &Frontier) -> Result<(), Error> {
        match self.checkpoint.as_ref().map(SignedCheckpoint::unverified) {
            Some(signed) if signed.size == frontier.size() && signed.root != frontier.root() => {
                Err(Error::CheckpointRoot { size: signed.size })
            }
            _ => Ok(()),
        }
    }

    fn checkpoint_must_be_reached(&self, size: u64) -> Result<(), Error> {
        match self.checkpoint.as_ref().map(SignedCheckpoint::unverified) {
            Some(signed) if signed.size > size => Err(Error::CheckpointAhead {
                checkpoint: signed.size,
                log: size,
            }),
            Some(signed) if signed.size == 0 && signed.root != merkle::empty_root() => {
                Err(Error::CheckpointRoot { size: 0 })
            }
            _ => Ok(()),
        }
    }
}

fn writing_views(error: io::Error) -> Error {
    Error::storage("writing the views")(error)
}
