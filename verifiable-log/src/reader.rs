//! Reads a log that nobody trusts and somebody may be writing: no lock, no views, every byte.

use std::{path::Path, sync::Arc};

use trust::{
    Digest,
    checkpoint::{Origin, SignedCheckpoint},
    leaf::LeafPreimage,
    merkle::Frontier,
};

use crate::{
    error::{Damage, Error, Fault},
    files::{self, Identity},
    following::Following,
    record::{LeafOf, RawRecord},
    storage::Storage,
    torn::{TornFile, torn_files},
    walk::{Place, Step, Walk},
    window::Contents,
};

/// A log open for reading from its first record on.
pub struct Reader {
    storage: Arc<Storage>,
    identity: Identity,
    leaf_of: LeafOf,
    following: Following,
    frontier: Frontier,
    /// The iterator has told of damage and ends.
    stopped: bool,
}

/// What the reader came to.
#[derive(Debug)]
pub enum Reading {
    /// The next record.
    Record(ReadRecord),
    /// The end of the log as it is now. Asking again finds what was written since.
    End(End),
}

/// A record and what its leaf is made of.
#[derive(Debug)]
pub struct ReadRecord {
    /// The record.
    pub record: RawRecord,
    /// What the leaf was computed from.
    pub leaf: LeafPreimage,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// How many records there are.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
    /// Where a batch stands that is not whole: one that is being written now, or that a crash
    /// has cut off and the next opening will record. Nothing in it was acknowledged.
    pub unfinished: Option<Damage>,
}

impl Reader {
    /// Opens the log in a folder. Blocks on files, as all of the reader does.
    ///
    /// # Errors
    /// When there is no log, or its beginning is damaged.
    pub fn open(folder: &Path, leaf_of: LeafOf) -> Result<Self, Error> {
        Self::open_in(Arc::new(Storage::read_only(folder)), leaf_of)
    }

    /// The same in any storage.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_in(storage: Arc<Storage>, leaf_of: LeafOf) -> Result<Self, Error> {
        let identity = Identity::read(&storage)?;
        let walk = Walk::start(Arc::clone(&storage), Contents::Load, identity.digest)?;
        Ok(Self {
            storage,
            identity,
            leaf_of,
            following: Following::new(walk, 0),
            frontier: Frontier::new(),
            stopped: false,
        })
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.identity.origin
    }

    /// The size and root over the records read so far.
    #[must_use]
    pub fn state(&self) -> (u64, Digest) {
        (self.frontier.size(), self.frontier.root())
    }

    /// The newest checkpoint kept beside the log. Its signature is not verified.
    ///
    /// # Errors
    /// When it cannot be read or is of another log.
    pub fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Error> {
        files::read_checkpoint(&self.storage, &self.identity.origin)
    }

    /// The files of torn bytes beside the log.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn torn_files(&self) -> Result<Vec<TornFile>, Error> {
        torn_files(&self.storage)
    }

    /// The next record, verified: checksums, the chain of batches, padding.
    ///
    /// # Errors
    /// Damage, with segment, offset and record; asking again after damage finds it again.
    pub fn read(&mut self) -> Result<Reading, Error> {
        let (record, place) = match self.following.read()? {
            Step::Record(record, place) => (record, place),
            Step::End(tail) => {
                let unfinished = tail
                    .torn
                    .map(|torn| self.following.walk().damage(torn.offset, torn.fault));
                let (size, root) = self.state();
                return Ok(Reading::End(End {
                    size,
                    root,
                    unfinished,
                }));
            }
        };
        let leaf = leaf_of_record(self.leaf_of, &record, place)?;
        self.frontier.append(leaf.leaf());
        Ok(Reading::Record(ReadRecord { record, leaf }))
    }
}

/// All records to the end or the first damage; the end itself is asked for with [`Reader::read`].
impl Iterator for Reader {
    type Item = Result<ReadRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.stopped {
            return None;
        }
        match self.read() {
            Ok(Reading::Record(record)) => Some(Ok(record)),
            Ok(Reading::End(_)) => None,
            Err(error) => {
                self.stopped = true;
                Some(Err(error))
            }
        }
    }
}

/// What the leaf of a record is made of; a record that has none is damage at its place.
pub(crate) fn leaf_of_record(
    leaf_of: LeafOf,
    record: &RawRecord,
    place: Place,
) -> Result<LeafPreimage, Error> {
    leaf_of(&record.kept).map_err(|invalid| {
        Error::Damaged(Damage {
            segment: place.segment,
            offset: place.frame,
            index: record.index,
            fault: Fault::Record(invalid),
        })
    })
}
