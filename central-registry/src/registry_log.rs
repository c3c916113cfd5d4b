//! The registry's log: entries as local records, with their annexes and blobs.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use certs::LogKey;
use prost::Message;
use trust::{
    Digest, InstanceId,
    checkpoint::{Origin, SignedCheckpoint},
    tile::{Bundle, BundledRecord, Tile},
    wire::evidence::{Annex, RecordKind, Stage},
};
use verifiable_log::{Log, Options, Record, leaf_of_local_record};

use crate::{Error, blob, clock::Clock};

/// A registry writes little: its files are smaller than those of a message log.
const SEGMENT_SIZE: u64 = 4 * 1024 * 1024;
const RESERVE_SIZE: u64 = 1024 * 1024;

/// The log, open for this process alone.
pub(crate) struct RegistryLog {
    log: Log,
    clock: Clock,
}

/// A record as it is folded.
pub(crate) struct FoldedRecord {
    /// The encoded entry; none if the record is what the log says about itself.
    pub(crate) entry: Option<Bytes>,
    pub(crate) annex_digest: Digest,
    pub(crate) blobs: Vec<Bytes>,
}

impl RegistryLog {
    /// Makes the empty log of an instance.
    pub(crate) fn create(folder: &Path, instance: &InstanceId, clock: Clock) -> Result<(), Error> {
        Ok(Log::create(
            folder,
            &Origin::of_registry(instance),
            &options(clock),
        )?)
    }

    /// Opens the log of an instance; what a crash has torn off is cut and recorded.
    pub(crate) fn open(folder: &Path, instance: &InstanceId, clock: Clock) -> Result<Self, Error> {
        let log = Log::open(folder, options(clock.clone()), &mut |progress| {
            tracing::info!("opening the log: {} records read", progress.records);
        })?;
        let origin = Origin::of_registry(instance);
        if *log.origin() != origin {
            let problem = format!("is the log {}, not {origin}", log.origin());
            return Err(Error::content(folder, problem));
        }
        Ok(Self { log, clock })
    }

    pub(crate) fn size(&self) -> u64 {
        self.log.size()
    }

    /// Appends an entry with its blobs. Gives its index and the digest of its annex once all of
    /// it is on disk.
    pub(crate) async fn append(
        &self,
        entry: Bytes,
        blobs: &[Bytes],
    ) -> Result<(u64, Digest), Error> {
        let salt = salt().ok_or_else(|| {
            Error::Unusable("the system gives no random bytes; nothing was recorded".to_owned())
        })?;
        let annex = annex(&self.clock, RecordKind::Entry as u8, salt);
        let annex_digest = Digest::of(&annex);
        let mut record = Record::local(RecordKind::Entry as u8, entry, annex);
        record.content = blob::to_content(blobs);
        let receipt = self.log.append(record).await?;
        Ok((receipt.index(), annex_digest))
    }

    /// Reads all records from the first on.
    pub(crate) fn read_all(
        &self,
        mut read: impl FnMut(&FoldedRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for record in self.log.scan(0)? {
            let record = record?.record;
            let is_entry = record.kept.kind == RecordKind::Entry as u8;
            let blobs = blob::from_content(&record.content);
            read(&FoldedRecord {
                entry: is_entry.then(|| record.kept.header.clone()),
                annex_digest: Digest::of(&record.kept.annex),
                blobs: blobs.filter(|_| is_entry).unwrap_or_default(),
            })?;
        }
        Ok(())
    }

    /// Signs the log as it is, or gives the checkpoint that says so already.
    pub(crate) fn checkpoint(&self, key: &LogKey) -> Result<SignedCheckpoint, Error> {
        Ok(self.log.checkpoint(key.key_pair())?)
    }

    pub(crate) fn root_at(&self, size: u64) -> Result<Digest, Error> {
        Ok(self.log.root_at(size)?)
    }

    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Digest>, Error> {
        Ok(self.log.inclusion(index, size)?)
    }

    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        Ok(self.log.tile(tile.level(), tile.index(), tile.width())?)
    }

    pub(crate) fn bundle(&self, bundle: Bundle) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let records = self
            .log
            .scan(bundle.first())?
            .take(usize::from(bundle.width()));
        for record in records {
            let kept = record?.record.kept;
            let bundled = BundledRecord {
                kind: kept.kind,
                header: kept.header,
                annex_digest: Digest::of(&kept.annex),
            };
            if !bundled.encode(&mut bytes) {
                let problem = "a record of the log is larger than an entry can be".to_owned();
                return Err(Error::Unusable(problem));
            }
        }
        Ok(bytes)
    }
}

fn options(clock: Clock) -> Options {
    // What the log says about itself (a torn end) is no secret: it is recorded also without a salt.
    let annex_of = Arc::new(move |kind| annex(&clock, kind, salt().unwrap_or_default()));
    Options {
        segment_size: SEGMENT_SIZE,
        reserve_size: RESERVE_SIZE,
        ..Options::new(leaf_of_local_record, annex_of)
    }
}

/// The annex of a record that is made now.
fn annex(clock: &Clock, kind: u8, salt: [u8; 16]) -> Bytes {
    let annex = Annex {
        kind: kind.into(),
        stage: Stage::Local.into(),
        received_at: clock.milliseconds(),
        salt: Bytes::copy_from_slice(&salt),
        ..Annex::default()
    };
    annex.encode_to_vec().into()
}

fn salt() -> Option<[u8; 16]> {
    let mut salt = [0; 16];
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    Some(salt)
}
