//! Takes the evidence of exchanges out of a log: chooses the records of each, then reads and proves them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    path::Path,
};

use trust::{
    Digest, ExchangeId,
    checkpoint::{Origin, SignedCheckpoint},
    merkle::{self, Frontier, Hashes},
};
use verifiable_log::{Error, Reader, Reading};

use super::{Evidence, ProvenRecord, choice::Choice};
use crate::audit::any_leaf_of;

/// Progress is told after so many records.
const PROGRESS: u64 = 1024;
/// The most bytes of contents that containers made at once hold.
const CONTENT_LIMIT: u64 = 1 << 30;
/// The most records of a container: a zip file without extensions has 65,535 files.
const RECORD_LIMIT: usize = 16_000;

/// Why there is no container.
#[derive(Debug, thiserror::Error)]
pub enum NotExported {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Unreadable(#[from] Error),
    /// It is no log of a security server.
    #[error("this is the log {0}; only message logs of security servers hold exchanges")]
    OtherLog(Origin),
    /// No record of the exchange.
    #[error("exchange {0} is not in this log")]
    NotFound(ExchangeId),
    /// Nothing of it was signed.
    #[error(
        "exchange {0} was refused before anything of it was signed; all there is is a security \
         record, which `auditor show` prints"
    )]
    NothingSigned(ExchangeId),
    /// Nobody has signed for the log yet.
    #[error("the log has no checkpoint yet, so nothing of it is proven; the server signs one soon")]
    NoCheckpoint,
    /// The exchange is newer than the newest checkpoint.
    #[error(
        "the newest checkpoint covers {covered} records and the exchange has record {last}; try \
         again when the server has signed the next one"
    )]
    NotCovered {
        /// Size of the checkpoint.
        covered: u64,
        /// The last record of the exchange.
        last: u64,
    },
    /// The records are not those that the checkpoint was signed for.
    #[error(
        "the first {0} records are not those that the checkpoint was signed for: `auditor verify` \
         says what is wrong"
    )]
    OtherRoot(u64),
    /// More than a container holds.
    #[error(
        "this is too large for one container, or for several at once: {what}, of {limit} at most"
    )]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// The limit.
        limit: u64,
    },
}

/// Takes the evidence of each of these exchanges out of the log in a folder, which may be in use;
/// `progress` is told how many records were read, of two passes.
///
/// # Errors
/// When one of the exchanges is not there, or not covered by the checkpoint.
pub(crate) fn export(
    folder: &Path,
    exchanges: &[ExchangeId],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Evidence>, NotExported> {
    let reader = Reader::open(folder, any_leaf_of)?;
    let log = reader.origin().clone();
    let keeper = log
        .server()
        .ok_or_else(|| NotExported::OtherLog(log.clone()))?;
    let checkpoint = reader.checkpoint()?.ok_or(NotExported::NoCheckpoint)?;
    let size = checkpoint.unverified().size;
    let choices = exchanges
        .iter()
        .map(|&exchange| Choice::new(exchange, keeper.clone()));
    let chosen = choose(reader, choices.collect(), size, progress)?;
    let all = chosen.iter().flatten().copied().collect();
    let records = prove(folder, &all, &checkpoint, progress)?;
    let evidence = |(&exchange, chosen): (&ExchangeId, BTreeSet<u64>)| {
        let records = chosen.iter().map(|index| records.get(index).cloned());
        let records: Option<Vec<ProvenRecord>> = records.collect();
        Ok(Evidence {
            exchange,
            log: log.clone(),
            checkpoint: checkpoint.clone(),
            records: records.ok_or(NotExported::OtherRoot(size))?,
        })
    };
    exchanges.iter().zip(chosen).map(evidence).collect()
}

/// The first pass: which records of each. A record of an exchange behind the checkpoint is proven by
/// nobody, and without it the exchange is not whole.
fn choose(
    mut reader: Reader,
    mut choices: Vec<Choice>,
    size: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<BTreeSet<u64>>, NotExported> {
    while let Reading::Record(read) = reader.read()? {
        for choice in &mut choices {
            if read.record.index < size || choice.is_of_exchange(&read.record) {
                choice.take(&read.record);
            }
        }
        tell(read.record.index, progress);
    }
    let chosen = choices.iter().map(|choice| chosen(choice, size));
    chosen.collect()
}

fn chosen(choice: &Choice, size: u64) -> Result<BTreeSet<u64>, NotExported> {
    if !choice.found() {
        return Err(NotExported::NotFound(choice.exchange()));
    }
    if !choice.has_messages() {
        return Err(NotExported::NothingSigned(choice.exchange()));
    }
    let chosen = choice.chosen();
    let last = chosen.last().copied().unwrap_or_default();
    if last >= size {
        return Err(NotExported::NotCovered {
            covered: size,
            last,
        });
    }
    if chosen.len() > RECORD_LIMIT {
        return Err(NotExported::TooLarge {
            what: format!("{} records", chosen.len()),
            limit: RECORD_LIMIT as u64,
        });
    }
    Ok(chosen)
}

/// The second pass: the records themselves, and the subtrees that their proofs need.
fn prove(
    folder: &Path,
    chosen: &BTreeSet<u64>,
    checkpoint: &SignedCheckpoint,
    progress: &mut dyn FnMut(u64),
) -> Result<BTreeMap<u64, ProvenRecord>, NotExported> {
    let (size, root) = (checkpoint.unverified().size, checkpoint.unverified().root);
    let mut subtrees = Subtrees::needed_for(chosen, size);
    let mut frontier = Frontier::new();
    let mut records = Vec::with_capacity(chosen.len());
    let mut content = 0;
    let mut reader = Reader::open(folder, any_leaf_of)?;
    while frontier.size() < size {
        let Reading::Record(read) = reader.read()? else {
            return Err(NotExported::OtherRoot(size));
        };
        frontier.append_observed(read.leaf.leaf(), |level, index, root| {
            subtrees.offer(level, index, root);
        });
        tell(read.record.index, progress);
        if chosen.contains(&read.record.index) {
            content += read.record.content.len() as u64;
            records.push(read.record);
        }
        if content > CONTENT_LIMIT {
            return Err(NotExported::TooLarge {
                what: format!("more than {CONTENT_LIMIT} bytes of content"),
                limit: CONTENT_LIMIT,
            });
        }
    }
    if frontier.root() != root {
        return Err(NotExported::OtherRoot(size));
    }
    let prove = |record: verifiable_log::RawRecord| {
        let proof = merkle::inclusion_proof(&subtrees, record.index, size);
        let proof = proof.map_err(|_| NotExported::OtherRoot(size))?;
        Ok((record.index, ProvenRecord { record, proof }))
    };
    records.into_iter().map(prove).collect()
}

fn tell(index: u64, progress: &mut dyn FnMut(u64)) {
    if (index + 1).is_multiple_of(PROGRESS) {
        progress(index + 1);
    }
}

/// The roots of the subtrees that proofs need: asked for first, filled in while the log is read.
struct Subtrees(HashMap<(u8, u64), Option<Digest>>);

/// Notes what a proof asks for, and answers anything.
struct Asked(std::cell::RefCell<Vec<(u8, u64)>>);

impl Hashes for Asked {
    type Error = Infallible;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, Infallible> {
        self.0.borrow_mut().push((level, index));
        Ok(merkle::empty_root())
    }
}

impl Subtrees {
    fn needed_for(leaves: &BTreeSet<u64>, size: u64) -> Self {
        let asked = Asked(std::cell::RefCell::default());
        for index in leaves {
            // Leaves outside the tree have no proof and ask for nothing.
            let _ = merkle::inclusion_proof(&asked, *index, size);
        }
        Self(asked.0.take().into_iter().map(|key| (key, None)).collect())
    }

    fn offer(&mut self, level: u8, index: u64, root: Digest) {
        if let Some(subtree) = self.0.get_mut(&(level, index)) {
            *subtree = Some(root);
        }
    }
}

/// A subtree that was not read.
#[derive(Debug)]
struct NotRead;

impl Hashes for Subtrees {
    type Error = NotRead;

    fn subtree(&self, level: u8, index: u64) -> Result<Digest, NotRead> {
        self.0
            .get(&(level, index))
            .copied()
            .flatten()
            .ok_or(NotRead)
    }
}
