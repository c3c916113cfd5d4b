//! The records that a question is about: all of a log, or those that an index leads to.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use trust::{Digest, ExchangeId};
use verifiable_log::{Error, Index, RawRecord, Reader, Reading};

use crate::{
    audit::any_leaf_of,
    keys::{self, INDEXING},
    listing::{Filter, Found, Listing},
};

/// Progress is told after so many records.
const PROGRESS: u64 = 1024;

/// A message log, and perhaps an index of it.
pub(crate) struct Records<'a> {
    log: &'a Path,
    index: Option<PathBuf>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(log: &'a Path, index: Option<PathBuf>) -> Self {
        Self { log, index }
    }

    /// The exchanges that a filter describes, the newest `limit` of them, in order.
    ///
    /// # Errors
    /// When the log or the index cannot be read.
    pub(crate) fn list(
        &self,
        filter: Filter,
        limit: usize,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Found, Error> {
        let question = Question::of(&filter);
        let mut listing = Listing::new(filter, limit);
        match (&self.index, question) {
            (Some(folder), Some(question)) => {
                let index = open(folder, self.log, progress)?;
                let mut seen = HashSet::new();
                question.answer(&index, |exchange| {
                    if !seen.insert(exchange) {
                        return Ok(());
                    }
                    for record in of_exchange(&index, exchange)? {
                        listing.take(&record);
                    }
                    Ok(())
                })?;
            }
            _ => self.read_all(progress, |record| listing.take(&record))?,
        }
        Ok(listing.finish())
    }

    /// The records of one exchange, in order.
    ///
    /// # Errors
    /// When the log or the index cannot be read.
    pub(crate) fn of_exchange(
        &self,
        exchange: ExchangeId,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<RawRecord>, Error> {
        if let Some(folder) = &self.index {
            return of_exchange(&open(folder, self.log, progress)?, exchange);
        }
        let mut found = Vec::new();
        self.read_all(progress, |record| {
            if keys::exchange_of(&record.kept) == Some(exchange) {
                found.push(record);
            }
        })?;
        Ok(found)
    }

    /// The record at an index; none if the log is shorter.
    ///
    /// # Errors
    /// When the log cannot be read up to there.
    pub(crate) fn at(
        &self,
        index: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Option<RawRecord>, Error> {
        let mut reader = Reader::open(self.log, any_leaf_of)?;
        while let Reading::Record(read) = reader.read()? {
            if read.record.index == index {
                return Ok(Some(read.record));
            }
            tell(read.record.index, progress);
        }
        Ok(None)
    }

    fn read_all(
        &self,
        progress: &mut dyn FnMut(u64),
        mut take: impl FnMut(RawRecord),
    ) -> Result<(), Error> {
        let mut reader = Reader::open(self.log, any_leaf_of)?;
        while let Reading::Record(read) = reader.read()? {
            tell(read.record.index, progress);
            take(read.record);
        }
        Ok(())
    }
}

fn tell(index: u64, progress: &mut dyn FnMut(u64)) {
    if (index + 1).is_multiple_of(PROGRESS) {
        progress(index + 1);
    }
}

fn open(folder: &Path, log: &Path, progress: &mut dyn FnMut(u64)) -> Result<Index, Error> {
    Index::open(folder, log, INDEXING, &mut |read| progress(read.records))
}

fn of_exchange(index: &Index, exchange: ExchangeId) -> Result<Vec<RawRecord>, Error> {
    index.find(keys::EXCHANGE, exchange.as_bytes()).collect()
}

/// What an index is asked: the part of a filter that leaves the fewest exchanges.
enum Question {
    Exchange(ExchangeId),
    /// A view and a key in it.
    Key(u8, Vec<u8>),
    /// The messages that name a person, and those that may.
    Subject(Digest),
    Times([u8; 8], [u8; 8]),
}

impl Question {
    /// None when every record has to be read all the same.
    fn of(filter: &Filter) -> Option<Self> {
        let key = |view, text: &Option<String>| {
            let text = text.as_ref()?;
            Some(Self::Key(view, text.clone().into_bytes()))
        };
        let unread = Self::Key(keys::SUBJECTS_UNREAD, Vec::new());
        let times = || {
            let (since, until) = (filter.since, filter.until);
            (since.is_some() || until.is_some()).then(|| {
                Self::Times(
                    keys::time_key(since.unwrap_or(0)),
                    keys::time_key(until.unwrap_or(i64::MAX)),
                )
            })
        };
        filter
            .exchange
            .map(Self::Exchange)
            .or_else(|| key(keys::REQUEST_ID, &filter.request_id))
            .or_else(|| key(keys::CASE_NUMBER, &filter.case_number))
            .or_else(|| filter.subjects_unread.then_some(unread))
            .or_else(|| filter.subject.map(Self::Subject))
            .or_else(times)
            .or_else(|| key(keys::CLIENT, &filter.client))
            .or_else(|| key(keys::SERVICE, &filter.service))
    }

    /// Tells the exchanges that the index has for it.
    fn answer(
        self,
        index: &Index,
        mut take: impl FnMut(ExchangeId) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let each = |record: Result<RawRecord, Error>| {
            keys::exchange_of(&record?.kept).map_or(Ok(()), &mut take)
        };
        match self {
            Self::Exchange(exchange) => take(exchange),
            Self::Key(view, key) => index.find(view, &key).try_for_each(each),
            Self::Subject(hash) => {
                let named = index.find(keys::SUBJECT, hash.as_bytes());
                let unread = index.find(keys::SUBJECTS_UNREAD, b"");
                named.chain(unread).try_for_each(each)
            }
            Self::Times(since, until) => index
                .find_range(keys::TIME, &since, &until)
                .try_for_each(each),
        }
    }
}
