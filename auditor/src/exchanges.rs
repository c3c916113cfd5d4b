//! The messages of one exchange together: opened once, in order, allowed, and brought to an end.

use std::collections::{HashMap, VecDeque};

use trust::{
    Digest, ExchangeId, Reason,
    checkpoint::Origin,
    exchange::{Chain, ConsumerExchange},
    header::{Direction, Header},
    promise::{Promise, PromisedLeaf},
    refusal::Side,
    replay::SeenExchanges,
    wire::evidence::Closing,
};

use crate::{
    check::Check, decisions::Decisions, listing::side_of, messages::ParsedMessage, report::Report,
    rights::LocalState, times::RECORDING_SECONDS,
};

/// How many exchanges can be open at once; no server carries more.
const OPEN: usize = 1024 * 1024;
/// How many exchanges that ended are remembered, for requests that were under way at their end.
const ENDED: usize = 64 * 1024;

/// The outcome in the closing record of an exchange that was found open at a start.
const FOUND_OPEN: &str = "unknown";

/// One side of an exchange: a server can be both.
type Key = (Side, ExchangeId);

/// The exchanges of a log.
#[derive(Default)]
pub(crate) struct Exchanges {
    open: HashMap<Key, Exchange>,
    ended: HashMap<Key, Ended>,
    /// Those that ended lately, in the order in which they did.
    ended_order: VecDeque<(i64, Key)>,
    seen_as_consumer: SeenExchanges,
    seen_as_provider: SeenExchanges,
    overflown: bool,
}

/// An exchange under way.
struct Exchange {
    /// None when a message of it failed: what follows cannot be judged by it.
    chains: Option<ConsumerExchange>,
    decisions: Decisions,
    /// Where its requests stand, and their leaves, from the newest on that a reply has named.
    kept: VecDeque<(u64, Digest)>,
}

/// An exchange that has its final reply or a closing record.
struct Ended {
    chains: Option<ConsumerExchange>,
    closed_by: Option<u64>,
    /// Requests that were under way when the final reply came were recorded after it.
    late: bool,
}

impl Exchanges {
    /// Takes in a message. Gives what a received reply promises.
    pub(crate) fn message(
        &mut self,
        report: &mut Report,
        log: &Origin,
        state: &LocalState,
        message: &ParsedMessage,
    ) -> Option<PromisedLeaf> {
        let header = &message.header;
        let side = side_of(header.direction, message.stage);
        let key = (side, header.parties.exchange);
        self.forget_ended(message.recorded.logged_at);
        if header.direction == Direction::Request && header.sequence == 0 {
            self.open_exchange(report, key, message);
        }
        let Some(exchange) = self.open.get_mut(&key) else {
            self.outside_exchange(report, key, message);
            return None;
        };
        let mut promised = exchange.follow(report, message);
        if side == Side::Provider {
            exchange.decisions.check(report, state, message);
            if let Some(promised) = promised.take() {
                exchange.check_own(report, message.index, log, &promised);
            }
        } else if promised.is_some() {
            report.held(Check::Promises);
        }
        if header.direction == Direction::Reply && header.is_final {
            report.facts.exchanges_answered += 1;
            self.end(key, message.recorded.logged_at, None);
        }
        promised
    }

    /// Takes in the closing record `index`.
    pub(crate) fn closing(
        &mut self,
        report: &mut Report,
        index: u64,
        key: Key,
        closing: &Closing,
        at: i64,
    ) {
        let closed = match self.open.get(&key) {
            Some(exchange) => exchange.chains.as_ref().map(|chains| {
                names_newest(
                    chains.requests(),
                    closing.request_sequence,
                    &closing.request_digest,
                )
                .and_then(|()| {
                    let (sequence, digest) = (closing.reply_sequence, &closing.reply_digest);
                    names_newest(chains.replies(), sequence, digest)
                })
                .map_err(|(found, named)| {
                    format!(
                        "it says that exchange {} ended with {named}, and {found} is recorded",
                        key.1
                    )
                })
            }),
            None => Some(self.close_ended(key)),
        };
        match closed {
            Some(outcome) => {
                report.judge(Check::Closings, index, outcome);
            }
            None => report.unchecked(Check::Closings),
        }
        if let Some(exchange) = self.open.get(&key) {
            report.facts.exchanges_closed += 1;
            if closing.outcome != FOUND_OPEN {
                exchange.decisions.closed(report, index);
            }
            self.end(key, at, Some(index));
        }
    }

    /// At the end of the log.
    pub(crate) fn finish(&self, report: &mut Report) {
        report.facts.exchanges_open = self.open.len() as u64;
    }

    fn open_exchange(&mut self, report: &mut Report, key: Key, message: &ParsedMessage) {
        let seen = match key.0 {
            Side::Consumer => &mut self.seen_as_consumer,
            Side::Provider => &mut self.seen_as_provider,
        };
        let client = &message.header.parties.client;
        let known = self.open.contains_key(&key) || self.ended.contains_key(&key);
        match seen.insert(client, key.1, message.recorded.logged_at) {
            Err(refusal) if refusal.reason == Reason::Busy => report.unchecked(Check::Once),
            Ok(()) if !known => report.held(Check::Once),
            _ => {
                let problem = format!("exchange {} of {client} was opened before", key.1);
                report.failed(Check::Once, message.index, problem);
                // Which of the two a later message belongs to, nobody can say.
                self.insert(key, Exchange::unknown());
                return;
            }
        }
        self.insert(key, Exchange::open(&message.header));
    }

    fn insert(&mut self, key: Key, exchange: Exchange) {
        if self.open.len() >= OPEN {
            self.overflown = true;
            return;
        }
        self.ended.remove(&key);
        self.open.insert(key, exchange);
    }

    /// A message of an exchange that is not open: late, or without its beginning.
    fn outside_exchange(&mut self, report: &mut Report, key: Key, message: &ParsedMessage) {
        let (index, header) = (message.index, &message.header);
        let direction = header.direction.name();
        if let Some(ended) = self.ended.get_mut(&key) {
            let Some(chains) = &mut ended.chains else {
                return report.unchecked(Check::Order);
            };
            let followed = match (ended.closed_by, header.direction) {
                (Some(by), _) => Err(format!("the {direction} follows the closing record {by}")),
                (None, Direction::Reply) => Err("a reply follows the final reply".to_owned()),
                (None, Direction::Request) => chains
                    .sign_off(header, message.digest, message.signature_digest)
                    .map_err(|refusal| refusal.explanation),
            };
            if report.judge(Check::Order, index, followed).is_some() {
                ended.late = true;
                report.facts.late_requests += 1;
            } else {
                ended.chains = None;
            }
        } else if self.overflown {
            report.unchecked(Check::Order);
        } else {
            let problem = format!(
                "{direction} {} of exchange {}, which has no first request recorded before it",
                header.sequence, key.1
            );
            report.failed(Check::Order, index, problem);
            self.insert(key, Exchange::unknown());
            if header.direction == Direction::Reply && header.is_final {
                self.end(key, message.recorded.logged_at, None);
            }
        }
    }

    /// A server that starts again closes what it finds open: also an exchange whose request was
    /// recorded after its final reply.
    fn close_ended(&mut self, key: Key) -> Result<(), String> {
        let ended = self.ended.get_mut(&key).filter(|ended| ended.late);
        let ended =
            ended.ok_or_else(|| format!("it closes exchange {}, which is not open", key.1))?;
        ended.late = false;
        Ok(())
    }

    fn end(&mut self, key: Key, at: i64, closed_by: Option<u64>) {
        let Some(exchange) = self.open.remove(&key) else {
            return;
        };
        self.ended.insert(
            key,
            Ended {
                chains: exchange.chains,
                closed_by,
                late: false,
            },
        );
        self.ended_order.push_back((at, key));
    }

    fn forget_ended(&mut self, now: i64) {
        while let Some((at, key)) = self.ended_order.front()
            && (now > at.saturating_add(RECORDING_SECONDS) || self.ended_order.len() > ENDED)
        {
            if self.ended.get(key).is_some_and(|ended| !ended.late) {
                self.ended.remove(key);
            }
            self.ended_order.pop_front();
        }
    }
}

impl Exchange {
    fn open(header: &Header) -> Self {
        Self {
            chains: Some(ConsumerExchange::open(header.parties.clone())),
            decisions: Decisions::of(header),
            kept: VecDeque::new(),
        }
    }

    /// An exchange of which something is missing.
    const fn unknown() -> Self {
        Self {
            chains: None,
            decisions: Decisions::unknown(),
            kept: VecDeque::new(),
        }
    }

    /// The rules by which a consumer accepts replies hold for the log of either side.
    fn follow(&mut self, report: &mut Report, message: &ParsedMessage) -> Option<PromisedLeaf> {
        let header = &message.header;
        if header.direction == Direction::Reply
            && let Err(refusal) = Promise::must_be_given(header)
        {
            report.failed(Check::Promises, message.index, refusal.explanation);
            if header.promise.is_some() {
                // No reply is accepted with what is no promise: its order is not the matter.
                self.chains = None;
            }
        }
        let Some(chains) = &mut self.chains else {
            report.unchecked(Check::Order);
            return None;
        };
        let followed = match header.direction {
            Direction::Request => {
                self.kept.push_back((message.index, message.leaf));
                chains
                    .sign_off(header, message.digest, message.signature_digest)
                    .map(|()| None)
            }
            Direction::Reply => chains.accept_reply(header, message.digest),
        };
        let followed = followed.map_err(|refusal| refusal.explanation);
        let promised = report.judge(Check::Order, message.index, followed);
        if promised.is_none() {
            self.chains = None;
        }
        promised.flatten()
    }

    /// In the log of the provider a promise is held against the log itself.
    fn check_own(
        &mut self,
        report: &mut Report,
        index: u64,
        log: &Origin,
        promised: &PromisedLeaf,
    ) {
        while self
            .kept
            .front()
            .is_some_and(|(at, _)| *at < promised.index)
        {
            self.kept.pop_front();
        }
        let kept = self.kept.front() == Some(&(promised.index, promised.leaf));
        let stands = kept && promised.origin == *log;
        let outcome = stands.then_some(()).ok_or_else(|| {
            let PromisedLeaf { origin, index, .. } = promised;
            format!("it promises place {index} of {origin}, where another record stands")
        });
        report.judge(Check::Promises, index, outcome);
    }
}

/// Whether a closing record names the newest message of a direction; else what is recorded and
/// what it names.
fn names_newest(
    chain: &Chain,
    sequence: Option<u64>,
    digest: &[u8],
) -> Result<(), (String, String)> {
    let words = |message: Option<(u64, Option<Digest>)>| match message {
        Some((sequence, Some(digest))) => format!("message {sequence} ({digest})"),
        Some((sequence, None)) => format!("message {sequence} (no digest)"),
        None => "no message".to_owned(),
    };
    let found = chain
        .newest()
        .map(|(sequence, digest)| (sequence, Some(digest)));
    let named = sequence.map(|sequence| (sequence, Digest::from_slice(digest)));
    if found == named && (sequence.is_some() || digest.is_empty()) {
        return Ok(());
    }
    Err((words(found), words(named)))
}
