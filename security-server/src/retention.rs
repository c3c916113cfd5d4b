//! Content has a term: once it is over, it is destroyed in the background, some records at a time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use prost::Message;
use tokio::runtime::Handle;
use trust::{
    Digest, ExchangeId,
    header::{Direction, Header},
    refusal::Side,
    wire::evidence::{Annex, Closing, RecordKind, Stage, Torn},
};
use verifiable_log::{EraseError, Log, RawRecord};

use crate::{recollection::side_of, server::Server};

/// The most contents, and the most bytes of them, that are found before they are destroyed.
const ROUND: usize = 4096;
const ROUND_BYTES: u64 = 64 * 1024 * 1024;
/// How often it is looked for content whose term is over.
const INTERVAL: Duration = Duration::from_secs(600);
/// What the records say.
const REASON: &str = "its term is over";

/// Destroys the contents of messages that were recorded longer ago than `term`, again and again.
/// Those of an exchange that has not ended stay.
pub(crate) async fn keep_term(server: Arc<Server>, term: Duration) {
    let mut from = 0;
    loop {
        let server = Arc::clone(&server);
        let looked = tokio::task::spawn_blocking(move || {
            let term = i64::try_from(term.as_millis()).unwrap_or(i64::MAX);
            let before = server.clock().milliseconds().saturating_sub(term);
            erase_older(server.recorder().log(), from, before, &Handle::current())
        });
        let looked = looked.await.map_err(|error| error.to_string());
        match looked.and_then(|looked| looked.map_err(|error| error.to_string())) {
            Ok(next) => from = next,
            Err(why) => tracing::error!(%why, "content whose term is over stays for now"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Destroys what is old enough, from a record on, round by round; gives the first record that may
/// have to be looked at again. Blocks on files.
fn erase_older(log: &Log, from: u64, before: i64, runtime: &Handle) -> Result<u64, EraseError> {
    let (mut at, mut again) = (from, u64::MAX);
    // Looked for in vain to the end of what is old enough: once a pass for each.
    let mut unended = HashSet::new();
    loop {
        let (round, is_last) = Round::read(log, at, before, &unended)?;
        for digest in &round.torn {
            if log.erase_torn(digest)? {
                tracing::info!("a cut tail destroyed: {REASON}");
            }
        }
        let (runs, next) = round.runs();
        for (first, last) in runs {
            runtime.block_on(log.erase(first, last, REASON))?;
            tracing::info!(first, last, "content destroyed: {REASON}");
        }
        if next < round.next {
            again = again.min(next);
        }
        at = round.next;
        if is_last {
            return Ok(again.min(at));
        }
        if unended.len() < ROUND {
            unended.extend(round.unended());
        }
    }
}

type Exchange = (Side, ExchangeId);

/// What a round has found.
#[derive(Default)]
struct Round {
    /// Records that hold content, and of which exchange; none: it is not known, and stays.
    contents: Vec<(u64, Option<Exchange>)>,
    bytes: u64,
    ended: HashSet<Exchange>,
    /// SHA-256 of cut tails, which may hold contents too.
    torn: Vec<Digest>,
    next: u64,
}

impl Round {
    /// Reads a round, and on to the ends of its exchanges; says whether it is the last.
    fn read(
        log: &Log,
        at: u64,
        before: i64,
        known: &HashSet<Exchange>,
    ) -> Result<(Self, bool), EraseError> {
        let mut round = Self {
            next: at,
            ..Self::default()
        };
        let mut sought: Option<HashSet<Exchange>> = None;
        for record in log.scan(at)? {
            let record = record?.record;
            match &mut sought {
                Some(sought) => {
                    if sought.is_empty() || !round.look_ahead(&record, before, sought) {
                        return Ok((round, false));
                    }
                }
                None => {
                    if !round.take(&record, before) {
                        return Ok((round, true));
                    }
                    if round.contents.len() >= ROUND || round.bytes >= ROUND_BYTES {
                        let unended = round.unended();
                        sought = Some(unended.filter(|it| !known.contains(it)).collect());
                    }
                }
            }
        }
        Ok((round, sought.is_none()))
    }

    /// Exchanges with contents here that are not known to have ended.
    fn unended(&self) -> impl Iterator<Item = Exchange> {
        let exchanges = self.contents.iter().filter_map(|(_, exchange)| *exchange);
        exchanges.filter(|exchange| !self.ended.contains(exchange))
    }

    /// Takes of a record behind the round only whether it ends one of the exchanges that are sought;
    /// says whether it is old enough.
    fn look_ahead(
        &mut self,
        record: &RawRecord,
        before: i64,
        sought: &mut HashSet<Exchange>,
    ) -> bool {
        let mut ahead = Self::default();
        let is_old = ahead.take(record, before);
        let found = ahead.ended.iter().filter(|ended| sought.remove(ended));
        self.ended.extend(found);
        is_old
    }

    /// Takes in the next record, unless it is too young.
    fn take(&mut self, record: &RawRecord, before: i64) -> bool {
        let annex = Annex::decode(record.kept.annex.clone()).unwrap_or_default();
        if annex.received_at >= before {
            return false;
        }
        self.next = record.index + 1;
        let kind = RecordKind::try_from(i32::from(record.kept.kind));
        let exchange = match kind {
            Ok(RecordKind::Message) => self.message(record, annex.stage()),
            Ok(RecordKind::Closing) => {
                self.ended.extend(closed(record));
                None
            }
            Ok(RecordKind::Torn) => {
                let torn = Torn::decode(record.kept.header.clone()).unwrap_or_default();
                self.torn.extend(Digest::from_slice(&torn.digest));
                None
            }
            _ => None,
        };
        if record.content_length > 0 && !record.is_erased {
            self.contents.push((record.index, exchange));
            self.bytes += record.content_length;
        }
        true
    }

    /// Which exchange a message is of; its final reply ends it.
    fn message(&mut self, record: &RawRecord, stage: Stage) -> Option<Exchange> {
        let header = Header::parse(&record.kept.header).ok()?;
        let side = side_of(header.direction, stage);
        let exchange = (side, header.parties.exchange);
        if header.direction == Direction::Reply && header.is_final {
            self.ended.insert(exchange);
        }
        Some(exchange)
    }

    /// Runs of records whose contents go, from the first to the last of each, and where the next
    /// round begins: at the first content that stays.
    fn runs(&self) -> (Vec<(u64, u64)>, u64) {
        let (mut runs, mut next): (Vec<(u64, u64)>, _) = (Vec::new(), self.next);
        let mut is_adjacent = false;
        for (index, exchange) in &self.contents {
            let goes = exchange.is_some_and(|it| self.ended.contains(&it));
            match runs.last_mut() {
                Some((_, last)) if goes && is_adjacent => *last = *index,
                _ if goes => runs.push((*index, *index)),
                _ => next = next.min(*index),
            }
            is_adjacent = goes;
        }
        (runs, next)
    }
}

fn closed(record: &RawRecord) -> Option<Exchange> {
    let closing = Closing::decode(record.kept.header.clone()).ok()?;
    Side::named(&closing.side).zip(ExchangeId::from_slice(&closing.exchange_id))
}

#[cfg(test)]
mod tests;
