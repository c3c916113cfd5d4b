//! Two logs held against each other: what one side recorded and the other lacks, broken promises.
//!
//! Both logs may be in use. The first is read, then the second, then what the first has got in
//! between: whoever is accused of lacking something was read after the accuser.

mod book;
mod comparison;

use std::path::Path;

use serde::Serialize;
use trust::{Digest, ExchangeId, ServerId, checkpoint::Origin};
use verifiable_log::{Error, RawRecord, Reader, Reading};

use self::{
    book::Book,
    comparison::{Pair, check_promises, compare_prefixes},
};
use crate::audit::any_leaf_of;

/// Progress is told after so many records.
const PROGRESS: u64 = 1024;
/// The most differences that are kept in words; beyond, they are counted.
pub const DIFFERENCES_LIMIT: usize = 1000;

/// What two logs come to, held against each other.
#[derive(Debug, Default, Serialize)]
pub struct Reconciliation {
    /// The two logs.
    pub logs: [String; 2],
    /// Exchanges between the two servers that both recorded alike: the same messages, the same end.
    pub alike: u64,
    /// Exchanges of which one side has more, or another end: under way, or cut off between the two.
    pub unequal: u64,
    /// Exchanges of which the answer did not reach the consumer, as its log says.
    pub not_delivered: u64,
    /// Exchanges that the consumer recorded and that never reached the provider.
    pub never_arrived: u64,
    /// Promises that the other log keeps.
    pub promises_kept: u64,
    /// Exchanges that the provider promised to keep in a log that it lost before this one began.
    pub in_other_generation: u64,
    /// Exchanges with other servers, which these two logs cannot prove.
    pub with_others: u64,
    /// What does not fit, in words.
    pub differences: Vec<Difference>,
    /// How many differences there are.
    pub failures: u64,
}

/// Something that one of the logs should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The exchange.
    pub exchange: String,
    /// The log that should hold it.
    pub lacking: String,
    /// The record of the other log that proves it.
    pub proven_by: u64,
    /// What is lacking.
    pub problem: String,
}

/// Why two logs cannot be held against each other.
#[derive(Debug, thiserror::Error)]
pub enum NotReconciled {
    /// One of them cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// One of them is no message log.
    #[error("{0} is no message log of a security server")]
    OtherLog(Origin),
    /// They are of one server.
    #[error("both are logs of {0}")]
    SameServer(ServerId),
}

/// Holds the logs in two folders against each other. What they say is not verified.
///
/// # Errors
/// When one of them cannot be read as a whole.
pub fn reconcile(
    folders: [&Path; 2],
    progress: &mut dyn FnMut(u64),
) -> Result<Reconciliation, NotReconciled> {
    let [mut first, mut second] = [Book::open(folders[0])?, Book::open(folders[1])?];
    if first.server == second.server {
        return Err(NotReconciled::SameServer(first.server));
    }
    first.peer = Some(second.server.clone());
    second.peer = Some(first.server.clone());
    first.read_on(progress)?;
    first.is_late = true;
    second.read_on(progress)?;
    first.read_on(progress)?;

    first.set_aside_other_generations(&second.log, second.begun_at);
    second.set_aside_other_generations(&first.log, first.begun_at);
    let mut outcome = Reconciliation {
        logs: [first.log.to_string(), second.log.to_string()],
        with_others: first.with_others + second.with_others,
        ..Reconciliation::default()
    };
    let mut prefixes = Vec::new();
    for (consumer, provider) in [(&first, &second), (&second, &first)] {
        Pair { consumer, provider }.compare(&mut outcome, &mut prefixes);
    }
    let books = [&first, &second];
    compare_prefixes(&mut outcome, books, folders, prefixes, progress)?;
    check_promises(&mut outcome, books, folders, progress)?;
    Ok(outcome)
}

impl Reconciliation {
    /// Whether nothing is lacking and every promise is kept.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.failures == 0
    }

    fn lacks(&mut self, log: &Origin, exchange: ExchangeId, proven_by: u64, problem: String) {
        self.failures += 1;
        if self.differences.len() < DIFFERENCES_LIMIT {
            self.differences.push(Difference {
                exchange: exchange.to_string(),
                lacking: log.to_string(),
                proven_by,
                problem,
            });
        }
    }
}

/// Reads a log again, as far as it was read before.
fn read_again(
    folder: &Path,
    size: u64,
    progress: &mut dyn FnMut(u64),
    mut take: impl FnMut(&RawRecord, Digest),
) -> Result<(), NotReconciled> {
    let mut reader = Reader::open(folder, any_leaf_of).map_err(unreadable(folder))?;
    while reader.state().0 < size {
        let Reading::Record(read) = reader.read().map_err(unreadable(folder))? else {
            break;
        };
        if (read.record.index + 1).is_multiple_of(PROGRESS) {
            progress(read.record.index + 1);
        }
        take(&read.record, read.leaf.leaf());
    }
    Ok(())
}

fn unreadable(folder: &Path) -> impl FnOnce(Error) -> NotReconciled {
    move |source| NotReconciled::Unreadable {
        path: folder.to_owned(),
        source,
    }
}
