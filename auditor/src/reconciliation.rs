//! Two logs held against each other: what one side recorded and the other lacks, broken promises.
//!
//! Both logs may be in use. The first is read, then the second, then what the first has got in
//! between: whoever is accused of lacking something was read after the accuser.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    path::Path,
};

use prost::Message;
use serde::Serialize;
use trust::{
    Digest, ExchangeId, ServerId,
    checkpoint::Origin,
    header::{Direction, Header},
    message::{KeptMessage, signature_value},
    promise::Promise,
    refusal::Side,
    wire::evidence::{Annex, Closing, RecordKind, Signature},
};
use verifiable_log::{Error, RawRecord, Reader, Reading};

use crate::{
    audit::{any_leaf_of, keeper_of},
    listing::side_of,
};

/// Progress is told after so many records.
const PROGRESS: u64 = 1024;
/// The most differences that are kept in words; beyond, they are counted.
pub const DIFFERENCES_LIMIT: usize = 1000;

/// What two logs come to, held against each other.
#[derive(Debug, Default, Serialize)]
pub struct Reconciliation {
    /// The two logs.
    pub logs: [String; 2],
    /// Exchanges between the two servers that both recorded alike.
    pub alike: u64,
    /// Exchanges of which the answer did not reach the consumer, as its log says.
    pub not_delivered: u64,
    /// Exchanges that the consumer recorded and that never reached the provider.
    pub never_arrived: u64,
    /// Promises that the other log keeps.
    pub promises_kept: u64,
    /// Exchanges that the provider promised to keep in a log of another generation.
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

    first.set_aside_other_generations(&second.log);
    second.set_aside_other_generations(&first.log);
    let mut outcome = Reconciliation {
        logs: [first.log.to_string(), second.log.to_string()],
        with_others: first.with_others + second.with_others,
        in_other_generation: (first.kept_elsewhere.len() + second.kept_elsewhere.len()) as u64,
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

/// One log as far as it was read.
struct Book {
    log: Origin,
    server: ServerId,
    peer: Option<ServerId>,
    folder: std::path::PathBuf,
    reader: Reader,
    /// What is read now may be newer than what was read of the other log.
    is_late: bool,
    size: u64,
    exchanges: BTreeMap<(ExchangeId, SideKey), Seen>,
    promises: Vec<Given>,
    /// Exchanges with a promise of another log of the provider than the one at hand.
    kept_elsewhere: HashSet<ExchangeId>,
    with_others: u64,
}

/// Which side of an exchange the keeper of the log was.
type SideKey = bool;
const CONSUMER: SideKey = true;
const PROVIDER: SideKey = false;

/// An exchange as one side recorded it.
#[derive(Default)]
struct Seen {
    first_record: u64,
    began_late: bool,
    first_request: Option<Digest>,
    /// Of the consumer: sequence, digest and digest of the signature of requests that a reply can
    /// still name as its newest.
    sent: VecDeque<(u64, Digest, Digest)>,
    requests: Line,
    replies: Line,
    closed: Option<String>,
}

/// The messages of one direction. Each names the one before it, so the newest stands for all.
#[derive(Default, Clone)]
struct Line {
    /// How many there were before the other log was read, and the newest of them.
    early: u64,
    newest_early: Option<Digest>,
    total: u64,
    newest: Option<Digest>,
    last_record: u64,
}

/// A promise that a reply gave us.
struct Given {
    exchange: ExchangeId,
    record: u64,
    promise: Promise,
    leaf: Digest,
}

impl Book {
    fn open(folder: &Path) -> Result<Self, NotReconciled> {
        let reader = Reader::open(folder, any_leaf_of).map_err(unreadable(folder))?;
        let log = reader.origin().clone();
        let (server, _) = keeper_of(&log).ok_or_else(|| NotReconciled::OtherLog(log.clone()))?;
        Ok(Self {
            log,
            server,
            peer: None,
            folder: folder.to_owned(),
            reader,
            is_late: false,
            size: 0,
            exchanges: BTreeMap::new(),
            promises: Vec::new(),
            kept_elsewhere: HashSet::new(),
            with_others: 0,
        })
    }

    fn read_on(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), NotReconciled> {
        loop {
            match self.reader.read().map_err(unreadable(&self.folder))? {
                Reading::Record(read) => {
                    self.size = read.record.index + 1;
                    if self.size.is_multiple_of(PROGRESS) {
                        progress(self.size);
                    }
                    self.take(&read.record);
                }
                Reading::End(_) => return Ok(()),
            }
        }
    }

    fn take(&mut self, record: &RawRecord) {
        let body = record.kept.header.clone();
        match RecordKind::try_from(i32::from(record.kept.kind)) {
            Ok(RecordKind::Message) => {
                self.message(record);
            }
            Ok(RecordKind::Closing) => {
                if let Ok(closing) = Closing::decode(body)
                    && let Some(exchange) = ExchangeId::from_slice(&closing.exchange_id)
                    && let Some(seen) = self
                        .exchanges
                        .get_mut(&(exchange, closing.side == Side::Consumer.name()))
                {
                    seen.closed = Some(closing.outcome);
                }
            }
            _ => {}
        }
    }

    /// Takes in a message; what does not parse is left to `verify`.
    fn message(&mut self, record: &RawRecord) -> Option<()> {
        let annex = Annex::decode(record.kept.annex.clone()).ok()?;
        let signature = Signature::decode(record.kept.signature.clone()).ok()?;
        let signature_digest = Digest::of(signature_value(&signature));
        let kept = KeptMessage::parse(record.kept.header.clone(), Some(signature)).ok()?;
        let (header, digest) = (kept.header(), kept.digest());
        let is_first = header.direction == Direction::Request && header.sequence == 0;
        if !self.is_between_the_two(header) {
            self.with_others += u64::from(is_first);
            return None;
        }
        let side = side_of(header.direction, annex.stage()) == Side::Consumer;
        let is_late = self.is_late;
        let exchange = header.parties.exchange;
        let seen = self
            .exchanges
            .entry((exchange, side))
            .or_insert_with(|| Seen {
                first_record: record.index,
                began_late: is_late,
                ..Seen::default()
            });
        match header.direction {
            Direction::Request => {
                if is_first {
                    seen.first_request = Some(digest);
                }
                if side == CONSUMER {
                    seen.sent
                        .push_back((header.sequence, digest, signature_digest));
                }
                seen.requests.extend(digest, record.index, is_late);
            }
            Direction::Reply => {
                seen.replies.extend(digest, record.index, is_late);
                if side == CONSUMER && !is_late {
                    let given = promise_of(header, record.index, seen);
                    self.promises.extend(given);
                }
            }
        }
        Some(())
    }

    /// A server that lost its log begins another generation; what it promised in the one before is
    /// not in this one.
    fn set_aside_other_generations(&mut self, of_peer: &Origin) {
        let (here, elsewhere): (Vec<_>, Vec<_>) = std::mem::take(&mut self.promises)
            .into_iter()
            .partition(|given| given.promise.origin == *of_peer);
        self.promises = here;
        self.kept_elsewhere = elsewhere.iter().map(|given| given.exchange).collect();
    }

    fn is_between_the_two(&self, header: &Header) -> bool {
        let (consumer, provider) = (&header.parties.consumer, &header.parties.provider);
        self.peer.as_ref().is_some_and(|peer| {
            (*consumer == self.server && provider == peer)
                || (consumer == peer && *provider == self.server)
        })
    }
}

/// The promise of a reply, and the leaf that it comes to.
fn promise_of(header: &Header, record: u64, seen: &mut Seen) -> Option<Given> {
    let promise = Promise::of(header).ok()??;
    let answers = header.answers.as_ref()?;
    while seen.sent.front()?.0 < answers.newest_sequence {
        seen.sent.pop_front();
    }
    let (_, request, signature) = seen.sent.front()?;
    Some(Given {
        exchange: header.parties.exchange,
        record,
        leaf: promise.leaf(*request, *signature),
        promise,
    })
}

impl Line {
    fn extend(&mut self, digest: Digest, record: u64, is_late: bool) {
        self.total += 1;
        self.newest = Some(digest);
        self.last_record = record;
        if !is_late {
            self.early = self.total;
            self.newest_early = Some(digest);
        }
    }
}

/// Something to look up in a log: whether its message there has this digest.
struct Prefix {
    exchange: ExchangeId,
    direction: Direction,
    sequence: u64,
    digest: Digest,
    /// The log that has fewer messages, and where; the other one is looked into.
    shorter: usize,
    record: u64,
}

/// Two logs, one as consumer, the other as provider.
struct Pair<'a> {
    consumer: &'a Book,
    provider: &'a Book,
}

impl Pair<'_> {
    fn compare(&self, outcome: &mut Reconciliation, prefixes: &mut Vec<Prefix>) {
        let of_consumer = self.consumer.exchanges.iter();
        for ((exchange, _), asked) in of_consumer.filter(|((_, side), _)| *side == CONSUMER) {
            if self.consumer.kept_elsewhere.contains(exchange) {
                continue;
            }
            match self.provider.exchanges.get(&(*exchange, PROVIDER)) {
                Some(answered) => {
                    self.compare_exchange(outcome, prefixes, *exchange, asked, answered);
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
        if answered.replies.total > asked.replies.total && asked.closed.is_some() {
            outcome.not_delivered += 1;
        } else {
            outcome.alike += 1;
        }
    }
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

/// Where one side has fewer messages, its newest must be among those of the other.
fn compare_prefixes(
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

fn check_promises(
    outcome: &mut Reconciliation,
    books: [&Book; 2],
    folders: [&Path; 2],
    progress: &mut dyn FnMut(u64),
) -> Result<(), NotReconciled> {
    for keeper in 0..2 {
        let (kept_by, given_to) = (books[keeper], books[1 - keeper]);
        let mut by_index: HashMap<u64, Vec<&Given>> = HashMap::new();
        for given in &given_to.promises {
            by_index.entry(given.promise.index).or_default().push(given);
        }
        if by_index.is_empty() {
            continue;
        }
        read_again(folders[keeper], kept_by.size, progress, |record, leaf| {
            for given in by_index.remove(&record.index).unwrap_or_default() {
                if given.leaf == leaf {
                    outcome.promises_kept += 1;
                } else {
                    let problem =
                        format!("BROKEN PROMISE: another record stands at {}", record.index);
                    outcome.lacks(&kept_by.log, given.exchange, given.record, problem);
                }
            }
        })?;
        for given in by_index.into_values().flatten() {
            let problem = format!(
                "BROKEN PROMISE: record {} was promised and the log has {}",
                given.promise.index, kept_by.size
            );
            outcome.lacks(&kept_by.log, given.exchange, given.record, problem);
        }
    }
    Ok(())
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

fn message(record: &RawRecord) -> Option<KeptMessage> {
    if i32::from(record.kept.kind) != RecordKind::Message as i32 {
        return None;
    }
    let signature = Signature::decode(record.kept.signature.clone()).ok()?;
    KeptMessage::parse(record.kept.header.clone(), Some(signature)).ok()
}

fn unreadable(folder: &Path) -> impl FnOnce(Error) -> NotReconciled {
    move |source| NotReconciled::Unreadable {
        path: folder.to_owned(),
        source,
    }
}
