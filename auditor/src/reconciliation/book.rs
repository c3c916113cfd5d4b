//! One log as it is read to be held against another: its exchanges in short, and what was promised.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    path::{Path, PathBuf},
};

use prost::Message;
use trust::{
    Digest, ExchangeId, ServerId,
    checkpoint::Origin,
    header::{Direction, Header},
    promise::Promise,
    refusal::Side,
    replay::FRESHNESS_SECONDS,
    wire::evidence::{Annex, Closing, RecordKind},
};
use verifiable_log::{RawRecord, Reader, Reading};

use super::{NotReconciled, PROGRESS, unreadable};
use crate::{audit::any_leaf_of, listing::side_of, messages::kept_message, times::seconds};

/// One log as far as it was read.
pub(super) struct Book {
    pub(super) log: Origin,
    pub(super) server: ServerId,
    pub(super) peer: Option<ServerId>,
    pub(super) folder: PathBuf,
    pub(super) reader: Reader,
    /// What is read now may be newer than what was read of the other log.
    pub(super) is_late: bool,
    pub(super) size: u64,
    pub(super) exchanges: BTreeMap<(ExchangeId, SideKey), Seen>,
    pub(super) promises: Vec<Given>,
    /// When its first record was made, in seconds since 1970 (UTC).
    pub(super) begun_at: i64,
    /// Exchanges that were promised to be kept in a log that was lost before the one at hand began.
    pub(super) kept_elsewhere: HashSet<ExchangeId>,
    /// Promises of another log that was lost, as would have to be, after the one at hand began.
    pub(super) promised_elsewhere: Vec<Given>,
    pub(super) with_others: u64,
}

/// Which side of an exchange the keeper of the log was.
pub(super) type SideKey = bool;
pub(super) const CONSUMER: SideKey = true;
pub(super) const PROVIDER: SideKey = false;

/// An exchange as one side recorded it.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) first_record: u64,
    pub(super) began_late: bool,
    pub(super) first_request: Option<Digest>,
    /// Of the consumer: sequence, digest and digest of the signature of requests that a reply can
    /// still name as its newest.
    pub(super) sent: VecDeque<(u64, Digest, Digest)>,
    pub(super) requests: Line,
    pub(super) replies: Line,
    pub(super) end: End,
}

/// How an exchange ended on one side.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Open,
    FinalReply,
    Closed,
}

/// The messages of one direction. Each names the one before it, so the newest stands for all.
#[derive(Default, Clone)]
pub(super) struct Line {
    /// How many there were before the other log was read, and the newest of them.
    pub(super) early: u64,
    pub(super) newest_early: Option<Digest>,
    pub(super) total: u64,
    pub(super) newest: Option<Digest>,
    pub(super) last_record: u64,
}

/// A promise that a reply gave us.
pub(super) struct Given {
    pub(super) exchange: ExchangeId,
    pub(super) record: u64,
    pub(super) promise: Promise,
    pub(super) leaf: Digest,
    /// When the reply was made, as it says and as far as its record allows.
    made_at: i64,
}

impl Book {
    pub(super) fn open(folder: &Path) -> Result<Self, NotReconciled> {
        let reader = Reader::open(folder, any_leaf_of).map_err(unreadable(folder))?;
        let log = reader.origin().clone();
        let (server, _) = log
            .server()
            .ok_or_else(|| NotReconciled::OtherLog(log.clone()))?;
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
            begun_at: i64::MAX,
            kept_elsewhere: HashSet::new(),
            promised_elsewhere: Vec::new(),
            with_others: 0,
        })
    }

    pub(super) fn read_on(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), NotReconciled> {
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
        if record.index == 0
            && let Ok(annex) = Annex::decode(record.kept.annex.clone())
        {
            self.begun_at = seconds(annex.received_at);
        }
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
                    // A server that starts again closes also what got a request after its end.
                    if seen.end == End::Open {
                        seen.end = End::Closed;
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes in a message; what does not parse is left to `verify`.
    fn message(&mut self, record: &RawRecord) -> Option<()> {
        let annex = Annex::decode(record.kept.annex.clone()).ok()?;
        let kept = kept_message(record).ok()?;
        let signature_digest = Digest::of(kept.signature_value());
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
                if header.is_final {
                    seen.end = End::FinalReply;
                }
                if side == CONSUMER && !is_late {
                    let given = promise_of(header, record.index, seconds(annex.received_at), seen);
                    self.promises.extend(given);
                }
            }
        }
        Some(())
    }

    /// A server that lost its log begins another generation; what it promised in the one before is
    /// not in this one. Once this one had begun, it could promise nothing in another.
    pub(super) fn set_aside_other_generations(&mut self, of_peer: &Origin, begun_at: i64) {
        for given in std::mem::take(&mut self.promises) {
            if given.promise.origin == *of_peer {
                self.promises.push(given);
            } else if given.made_at < begun_at {
                self.kept_elsewhere.insert(given.exchange);
            } else {
                self.promised_elsewhere.push(given);
            }
        }
    }

    fn is_between_the_two(&self, header: &Header) -> bool {
        let (consumer, provider) = (&header.parties.consumer, &header.parties.provider);
        self.peer.as_ref().is_some_and(|peer| {
            (*consumer == self.server && provider == peer)
                || (consumer == peer && *provider == self.server)
        })
    }
}

/// The promise of a reply, and the leaf that it comes to. Clocks may differ: what was received at
/// `received_at` can have been made as long before as a request may be old.
fn promise_of(header: &Header, record: u64, received_at: i64, seen: &mut Seen) -> Option<Given> {
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
        made_at: header
            .created_at
            .max(received_at.saturating_sub(FRESHNESS_SECONDS)),
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
