//! Erasing content: a record says so and is synced, then the bytes are zeros, and the log verifies.
//!
//! In this order, each step synced before the next: the file `erasing`, which says what is to be
//! erased and how many records the log had; an `Erased` record; zeros in place of the contents;
//! then `erasing` is removed. When a log is opened and the file is there, the record is looked for:
//! if it is there, the zeros are written again, else nothing was erased. Zeros that no later record
//! explains are damage.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest,
    wire::evidence::{Erased, RecordKind},
};

use crate::{
    error::{Damage, EraseError, Error, Fault},
    format::{FRAME_HEADER, segment_name},
    log::Log,
    record::{RawRecord, Record},
    segments::segments,
    shared::{Shared, locked},
    storage::Storage,
    torn::{torn_files, write_again, write_zeros},
    walk::{Place, Step, Walk},
    window::Contents,
};

const KIND: u8 = RecordKind::Erased as u8;
const ERASING: &str = "erasing";

impl Log {
    /// Destroys the contents of the records from `first` to `last`; their kept parts stay. Gives the
    /// index of the record that says so, or none when they were destroyed before. When this returns,
    /// they stay destroyed; when it fails, the next call or opening finishes it if it was recorded.
    /// Blocks on files; for a task of its own.
    ///
    /// # Errors
    /// When there are no such records, none of them has content, or the file system fails.
    pub async fn erase(
        &self,
        first: u64,
        last: u64,
        reason: &str,
    ) -> Result<Option<u64>, EraseError> {
        let mut unfinished = self.shared().erasing.lock().await;
        let storage = &self.shared().storage;
        if let Some((first, last)) = *unfinished {
            self.zero(first, last)?;
            *unfinished = None;
        }
        let size = self.size();
        if first > last || last >= size {
            return Err(Error::NoRecord { index: last, size }.into());
        }
        let (mut kept, mut gone) = (0, 0_u64);
        each_content(storage, first, last, |record, _| {
            match record.is_erased {
                true => gone += 1,
                false => kept += 1,
            }
            Ok(())
        })?;
        match (kept, gone) {
            (0, 0) => return Err(EraseError::NothingThere { first, last }),
            (0, _) => return Ok(None),
            _ => {}
        }
        let erased = Erased {
            first_index: first,
            last_index: last,
            reason: reason.to_owned(),
        };
        let header = Bytes::from(erased.encode_to_vec());
        let begun = [&size.to_le_bytes(), header.as_ref()].concat();
        let length = begun.len() as u64;
        storage
            .create(ERASING, &mut begun.as_slice(), length)
            .map_err(Error::storage(format!("writing {ERASING}")))?;
        let annex = (self.shared().options.annex_of)(KIND);
        // From here on it is certain: whoever opens the log goes on where this stops.
        let receipt = self.append(Record::local(KIND, header, annex)).await?;
        *unfinished = Some((first, last));
        self.shared().erased().push((first, last));
        self.zero(first, last)?;
        *unfinished = None;
        Ok(Some(receipt.index()))
    }

    /// Zeroes contents whose erasure is recorded, while nobody in this process reads any.
    fn zero(&self, first: u64, last: u64) -> Result<(), Error> {
        let storage = &self.shared().storage;
        let mut zeroed = locked(&self.shared().zeroing);
        *zeroed += 1;
        zero(storage, first, last)?;
        drop(zeroed);
        remove(storage)
    }

    /// Destroys bytes that a crash had cut off and a `Torn` record states by this digest; says whether
    /// they were there. When this returns, they stay destroyed. Blocks on files.
    ///
    /// # Errors
    /// When the file system fails.
    pub fn erase_torn(&self, digest: &Digest) -> Result<bool, Error> {
        let storage = &self.shared().storage;
        let mut found = false;
        for file in torn_files(storage)? {
            if file.digest == *digest {
                let removed = storage.remove_for_good(&file.name);
                removed.map_err(Error::storage(format!("removing {}", file.name)))?;
                found = true;
            }
        }
        Ok(found)
    }

    /// Whether a record says that the content of this one was destroyed. Blocks on files.
    pub(crate) fn must_be_explained(&self, index: u64, place: Place) -> Result<(), Error> {
        let covers = |(first, last): &(u64, u64)| (*first..=*last).contains(&index);
        if self.shared().erased().iter().any(covers) {
            return Ok(());
        }
        let storage = Arc::clone(&self.shared().storage);
        let mut walk = Walk::at_batch(storage, Contents::Check, place.segment, place.batch)?;
        while let Step::Record(record, _) = walk.step()? {
            if let Some((first, last)) = said_by(&record)
                && covers(&(first, last))
            {
                self.shared().erased().push((first, last));
                return Ok(());
            }
        }
        Err(Error::Damaged(damage(index, place)))
    }
}

/// Contents that are gone until a record says why.
#[derive(Default)]
pub(crate) struct Gone(Vec<(u64, Place)>);

impl Gone {
    /// Takes in the next record.
    pub(crate) fn pass(&mut self, record: &RawRecord, place: Place) {
        if record.is_erased {
            self.0.push((record.index, place));
        }
        if let Some((first, last)) = said_by(record) {
            self.0.retain(|(index, _)| !(first..=last).contains(index));
        }
    }

    /// At the end of the log: which no record has explained.
    pub(crate) fn unexplained(&self) -> impl Iterator<Item = (u64, Place)> {
        self.0.iter().copied()
    }

    /// At the end of the log.
    pub(crate) fn must_be_explained(&self) -> Result<(), Error> {
        match self.unexplained().next() {
            Some((index, place)) => Err(Error::Damaged(damage(index, place))),
            None => Ok(()),
        }
    }
}

/// What an `Erased` record says was destroyed.
fn said_by(record: &RawRecord) -> Option<(u64, u64)> {
    if record.kept.kind != KIND {
        return None;
    }
    let erased = Erased::decode(record.kept.header.clone()).ok()?;
    // No record speaks of itself or of a later one.
    (erased.last_index < record.index).then_some((erased.first_index, erased.last_index))
}

const fn damage(index: u64, place: Place) -> Damage {
    Damage {
        segment: place.segment,
        offset: place.frame,
        index,
        fault: Fault::ContentGone,
    }
}

/// Finishes an erasure that was interrupted, if its record is in the log. For opening alone: it
/// writes the end of the log again.
pub(crate) fn finish(storage: &Arc<Storage>) -> Result<(), Error> {
    let reading = |error| Error::storage(format!("reading {ERASING}"))(error);
    let begun = match storage.read(ERASING) {
        Ok(begun) => begun,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(reading(error)),
    };
    let malformed = || reading(std::io::ErrorKind::InvalidData.into());
    let (size, header) = begun.split_first_chunk().ok_or_else(malformed)?;
    let size = u64::from_le_bytes(*size);
    let erased = Erased::decode(header).map_err(|_| malformed())?;
    let firsts = segments(storage)?;
    let first = firsts.into_iter().rev().find(|first| *first <= size);
    let mut walk = Walk::at_segment(Arc::clone(storage), Contents::Skip, first.unwrap_or(0))?;
    let mut is_recorded = false;
    let tail = loop {
        // What is being erased stands before; what came later is read with care.
        if walk.index() >= size {
            walk.check_contents();
        }
        match walk.step()? {
            Step::Record(record, _) => {
                is_recorded |= record.kept.kind == KIND && record.kept.header == header;
            }
            Step::End(tail) => break tail,
        }
    };
    if is_recorded {
        tracing::warn!(
            first = erased.first_index,
            last = erased.last_index,
            "finishing an erasure that was interrupted"
        );
        // The record must survive what it explains.
        write_again(storage, &tail)?;
        zero(storage, erased.first_index, erased.last_index)?;
    }
    remove(storage)
}

fn remove(storage: &Storage) -> Result<(), Error> {
    // If it comes back, the zeros are written once more.
    let removed = storage.remove(ERASING);
    removed.map_err(Error::storage(format!("removing {ERASING}")))
}

/// Writes zeros in place of contents, and syncs each segment.
fn zero(storage: &Arc<Storage>, first: u64, last: u64) -> Result<(), Error> {
    let mut unsynced = None;
    each_content(storage, first, last, |record, place| {
        let name = segment_name(place.segment);
        let failed = |error| Error::storage(format!("erasing in {name}"))(error);
        let file = match unsynced.take() {
            Some((segment, file)) if segment == place.segment => file,
            former => {
                sync(former)?;
                storage.open(&name).map_err(failed)?
            }
        };
        let kept = &record.kept;
        let kept = kept.header.len() + kept.signature.len() + kept.annex.len();
        let at = place.frame + (FRAME_HEADER + kept) as u64;
        write_zeros(&*file, at, at + record.content_length).map_err(failed)?;
        unsynced = Some((place.segment, file));
        Ok(())
    })?;
    sync(unsynced)
}

fn sync(unsynced: Option<(u64, Box<dyn durable::File>)>) -> Result<(), Error> {
    match unsynced {
        None => Ok(()),
        Some((segment, file)) => file.sync().map_err(Error::storage(format!(
            "syncing what was erased in {}",
            segment_name(segment)
        ))),
    }
}

/// Every record of a range that has or had content.
fn each_content(
    storage: &Arc<Storage>,
    first: u64,
    last: u64,
    mut each: impl FnMut(&RawRecord, Place) -> Result<(), Error>,
) -> Result<(), Error> {
    let firsts = segments(storage)?;
    let segment = firsts.into_iter().rev().find(|it| *it <= first);
    let mut walk = Walk::at_segment(Arc::clone(storage), Contents::Skip, segment.unwrap_or(0))?;
    while walk.index() <= last {
        let Step::Record(record, place) = walk.step()? else {
            break;
        };
        if record.index >= first && record.content_length > 0 {
            each(&record, place)?;
        }
    }
    Ok(())
}

impl Shared {
    /// What is known to have been erased, by records of the log.
    fn erased(&self) -> MutexGuard<'_, Vec<(u64, u64)>> {
        locked(&self.erased)
    }
}
