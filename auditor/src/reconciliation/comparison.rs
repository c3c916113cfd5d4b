//! What two books come to: each exchange on both sides, and each promise.

use std::{collections::HashMap, path::Path};

use trust::{ExchangeId, header::Direction, message::KeptMessage, wire::evidence::RecordKind};
use verifiable_log::RawRecord;

use super::{
    NotReconciled, Reconciliation,
    book::{Book, CONSUMER, End, Given, PROVIDER, Seen},
    read_again,
};
use crate::messages::kept_message;

/// Something to look up in a log: whether its message there has this digest.
pub(super) struct Prefix {
    exchange: ExchangeId,
    direction: Direction,
    sequence: u64,
    digest: trust::Digest,
    /// The log that has fewer messages, and where; the other one is looked into.
    shorter: usize,
    record: u64,
}

/// Two logs, one as consumer, the other as provider.
pub(super) struct Pair<'a> {
    pub(super) consumer: &'a Book,
    pub(super) provider: &'a Book,
}

impl Pair<'_> {
    pub(super) fn compare(&self, outcome: &mut Reconciliation, prefixes: &mut Vec<Prefix>) {
        let of_consumer = self.consumer.exchanges.iter();
        for ((exchange, _), asked) in of_consumer.filter(|((_, side), _)| *side == CONSUMER) {
            match self.provider.exchanges.get(&(*exchange, PROVIDER)) {
                Some(answered) => {
                    self.compare_exchange(outcome, prefixes, *exchange, asked, answered);
                }
                None if self.consumer.kept_elsewhere.contains(exchange) => {
                    outcome.in_other_generation += 1;
                }
                None if asked.began_late => {}
                None if asked.replies.early > 0 => {
                    let problem = format!(
                        "the whole exchange: the consumer keeps {} replies that its server signed",
                        asked.replies.early
                    );
                    let record = asked.replies.last_record;
                    outcome.lacks(&self.provider.log, *exchange, record, problem);
                }
                None => outcome.never_arrived += 1,
            }
        }
        let of_provider = self.provider.exchanges.iter();
        for ((exchange, _), answered) in of_provider.filter(|((_, side), _)| *side == PROVIDER) {
            let is_known = self.consumer.exchanges.contains_key(&(*exchange, CONSUMER));
            if !is_known && !answered.began_late {
                let problem = "the whole exchange: the provider keeps the request that its member \
                               signed";
                let record = answered.first_record;
                outcome.lacks(&self.consumer.log, *exchange, record, problem.to_owned());
            }
        }
    }

    fn compare_exchange(
        &self,
        outcome: &mut Reconciliation,
        prefixes: &mut Vec<Prefix>,
        exchange: ExchangeId,
        asked: &Seen,
        answered: &Seen,
    ) {
        let before = outcome.failures;
        if asked.first_request != answered.first_request {
            let problem = "the first request as the provider keeps it: they are two";
            let record = answered.first_record;
            outcome.lacks(&self.consumer.log, exchange, record, problem.to_owned());
            return;
        }
        for (direction, accuser, accused, log) in [
            (
                Direction::Request,
                &answered.requests,
                &asked.requests,
                self.consumer,
            ),
            (
                Direction::Reply,
                &asked.replies,
                &answered.replies,
                self.provider,
            ),
        ] {
            let name = direction.name();
            if accuser.early > accused.total {
                let (more, of) = (accuser.early - accused.total, accuser.early);
                let problem = format!("{more} of {of} messages of direction {name}");
                outcome.lacks(&log.log, exchange, accuser.last_record, problem);
            } else if accuser.early == accused.total && accuser.newest_early != accused.newest {
                let problem = format!("the {name} messages as the other side keeps them");
                outcome.lacks(&log.log, exchange, accuser.last_record, problem);
            } else if accuser.early < accused.total
                && let Some(digest) = accuser.newest_early
            {
                prefixes.push(Prefix {
                    exchange,
                    direction,
                    sequence: accuser.early - 1,
                    digest,
                    shorter: usize::from(outcome.logs[0] == log.log.as_str()),
                    record: accuser.last_record,
                });
            }
        }
        if outcome.failures > before {
            return;
        }
        let totals = |seen: &Seen| (seen.requests.total, seen.replies.total);
        if totals(asked) == totals(answered) && asked.end == answered.end {
            outcome.alike += 1;
        } else if answered.replies.total > asked.replies.total && asked.end == End::Closed {
            outcome.not_delivered += 1;
        } else {
            outcome.unequal += 1;
        }
    }
}

/// Where one side has fewer messages, its newest must be among those of the other.
pub(super) fn compare_prefixes(
    outcome: &mut Reconciliation,
    books: [&Book; 2],
    folders: [&Path; 2],
    prefixes: Vec<Prefix>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), NotReconciled> {
    for longer in 0..2 {
        let mut wanted: HashMap<(ExchangeId, bool, u64), &Prefix> = prefixes
            .iter()
            .filter(|prefix| prefix.shorter != longer)
            .map(|it| {
                (
                    (it.exchange, it.direction == Direction::Request, it.sequence),
                    it,
                )
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        read_again(
            folders[longer],
            books[longer].size,
            progress,
            |record, _| {
                let Some(kept) = message(record) else { return };
                let header = kept.header();
                let is_request = header.direction == Direction::Request;
                let key = (header.parties.exchange, is_request, header.sequence);
                if wanted
                    .get(&key)
                    .is_some_and(|prefix| prefix.digest == kept.digest())
                {
                    wanted.remove(&key);
                }
            },
        )?;
        for prefix in wanted.into_values() {
            let problem = format!(
                "the {} {} as the other side keeps it",
                prefix.direction.name(),
                prefix.sequence
            );
            outcome.lacks(&books[longer].log, prefix.exchange, prefix.record, problem);
        }
    }
    Ok(())
}

pub(super) fn check_promises(
    outcome: &mut Reconciliation,
    books: [&Book; 2],
    folders: [&Path; 2],
    progress: &mut dyn FnMut(u64),
) -> Result<(), NotReconciled> {
    for keeper in 0..2 {
        let (kept_by, given_to) = (books[keeper], books[1 - keeper]);
        for given in &given_to.promised_elsewhere {
            let problem = format!(
                "BROKEN PROMISE: its place was promised in log {}, when this log had begun",
                given.promise.origin
            );
            outcome.lacks(&kept_by.log, given.exchange, given.record, problem);
        }
        let mut by_index: HashMap<u64, Vec<&Given>> = HashMap::new();
        for given in &given_to.promises {
            by_index.entry(given.promise.index).or_default().push(given);
        }
        if by_index.is_empty() {
            continue;
        }
        read_again(folders[keeper], kept_by.size, progress, |record, leaf| {
            let given = by_index.remove(&record.index).unwrap_or_default();
            let (kept, broken): (Vec<_>, Vec<_>) =
                given.into_iter().partition(|given| given.leaf == leaf);
            outcome.promises_kept += kept.len() as u64;
            let what = format!("another record stands at {}", record.index);
            report_broken(outcome, kept_by, &broken, &what);
        })?;
        for (index, given) in by_index {
            let what = format!(
                "record {index} was promised and the log has {}",
                kept_by.size
            );
            report_broken(outcome, kept_by, &given, &what);
        }
    }
    Ok(())
}

/// Reports promises of one place that are broken: all replies of a stream may give the same one.
fn report_broken(outcome: &mut Reconciliation, kept_by: &Book, given: &[&Given], what: &str) {
    let mut of_exchanges: HashMap<ExchangeId, (u64, u64)> = HashMap::new();
    for given in given {
        let (first, replies) = of_exchanges
            .entry(given.exchange)
            .or_insert((given.record, 0));
        *first = given.record.min(*first);
        *replies += 1;
    }
    for (exchange, (record, replies)) in of_exchanges {
        let problem = match replies {
            1 => format!("BROKEN PROMISE: {what}"),
            replies => format!("BROKEN PROMISE: {what}; {replies} replies promise it"),
        };
        outcome.lacks(&kept_by.log, exchange, record, problem);
    }
}

fn message(record: &RawRecord) -> Option<KeptMessage> {
    if i32::from(record.kept.kind) != RecordKind::Message as i32 {
        return None;
    }
    kept_message(record).ok()
}
