//! Which exchanges a log holds: who asked what of whom, when, and how it ended. Not verified.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use serde::{Serialize, Serializer};
use trust::{
    Digest, ExchangeId,
    header::{Direction, Header, Parties, Statements},
    refusal::Side,
    wire::evidence::{Annex, Closing, RecordKind, SecurityEvent, Stage},
};
use verifiable_log::RawRecord;

use crate::times::in_utc;

/// What is asked for; what is not given does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The id that the client was given as `x-road-exchange-id`.
    pub exchange: Option<ExchangeId>,
    /// `x-road-id`, the client's own name for the call.
    pub request_id: Option<String>,
    /// `x-road-issue`.
    pub case_number: Option<String>,
    /// Recorded at this time or later, in milliseconds since 1970 (UTC).
    pub since: Option<i64>,
    /// Recorded before this time, in milliseconds since 1970 (UTC).
    pub until: Option<i64>,
    /// The other side's security server.
    pub peer: Option<String>,
    /// The client's subsystem.
    pub client: Option<String>,
    /// The provider's subsystem.
    pub service: Option<String>,
    /// `Method` or `package.Service/Method`.
    pub method: Option<String>,
    /// The keyed hash of a person whom a message of it names.
    pub subject: Option<Digest>,
    /// Only those of which it is not known, or not wholly, whom their messages name.
    pub subjects_unread: bool,
    /// `answered`, `refused`, `closed`, `open`, a gRPC status, a refusal code, or how it was closed.
    pub outcome: Option<String>,
}

/// One exchange as one side recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The exchange id.
    pub exchange: String,
    /// Which side this log is of; none for a call that was refused before it was an exchange.
    pub side: Option<&'static str>,
    /// The first record.
    pub record: u64,
    /// When that was recorded, in milliseconds since 1970 (UTC); in JSON, in words (RFC 3339).
    #[serde(serialize_with = "as_utc")]
    pub recorded_at: i64,
    /// The client's subsystem; empty when it was never known.
    pub client: String,
    /// The provider's subsystem.
    pub service: String,
    /// `package.Service/Method`.
    pub method: String,
    /// The other side's security server, or what was known of who called.
    pub peer: String,
    /// `x-road-id`.
    pub request_id: String,
    /// `x-road-issue`.
    pub case_number: String,
    /// `x-road-userid`.
    pub user: String,
    /// `x-road-purpose`.
    pub purpose: String,
    /// Request messages recorded.
    pub requests: u64,
    /// Reply messages recorded.
    pub replies: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "is")]
pub enum Outcome {
    /// No end is recorded.
    Open,
    /// With the provider's final reply; its gRPC status.
    Answered(String),
    /// With a refusal; its code.
    Refused(String),
    /// With a closing record; its outcome.
    Closed(String),
}

impl Outcome {
    /// In two words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Answered(status) => format!("answered {status}"),
            Self::Refused(code) => format!("refused {code}"),
            Self::Closed(how) => format!("closed {how}"),
        }
    }

    fn is(&self, asked: &str) -> bool {
        let (kind, detail) = match self {
            Self::Open => ("open", ""),
            Self::Answered(status) => ("answered", status.as_str()),
            Self::Refused(code) => ("refused", code.as_str()),
            Self::Closed(how) => ("closed", how.as_str()),
        };
        asked.eq_ignore_ascii_case(kind) || asked.eq_ignore_ascii_case(detail)
    }
}

impl Filter {
    /// Whether an exchange that began like this may be among what is asked for.
    fn begins(&self, summary: &Summary) -> bool {
        let is =
            |asked: &Option<String>, found: &str| asked.as_ref().is_none_or(|asked| asked == found);
        let exchange = self.exchange.map(|exchange| exchange.to_string());
        let method = self.method.as_ref().is_none_or(|asked| {
            let bare = summary.method.rsplit('/').next().unwrap_or_default();
            *asked == summary.method || asked == bare
        });
        is(&exchange, &summary.exchange)
            && is(&self.request_id, &summary.request_id)
            && is(&self.case_number, &summary.case_number)
            && is(&self.peer, &summary.peer)
            && is(&self.client, &summary.client)
            && is(&self.service, &summary.service)
            && method
            && self.since.is_none_or(|since| summary.recorded_at >= since)
            && self.until.is_none_or(|until| summary.recorded_at < until)
    }

    /// Whether a message names the person who is asked for.
    fn is_named_by(&self, annex: &Annex) -> bool {
        let mut hashes = annex.subject_hash.iter();
        self.subject
            .is_some_and(|subject| hashes.any(|hash| hash[..] == subject.as_bytes()[..]))
    }

    fn ends(&self, summary: &Summary) -> bool {
        let asked = self.outcome.as_ref();
        asked.is_none_or(|asked| summary.outcome.is(asked))
    }
}

/// The exchanges found so far.
pub(crate) struct Listing {
    filter: Filter,
    limit: usize,
    /// Under way, of those that may be asked for.
    open: HashMap<(Option<Side>, ExchangeId), Begun>,
    /// By first record; the newest of those found, as many as the limit allows.
    found: BTreeMap<u64, Summary>,
    more: u64,
    unread: u64,
}

/// An exchange under way.
struct Begun {
    summary: Summary,
    /// A message of it names the person who is asked for.
    named: bool,
    /// A message of it could not be read for whom it names when it was recorded.
    unread: bool,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// In the order in which they began.
    pub exchanges: Vec<Summary>,
    /// How many older ones there are beyond the limit.
    pub more: u64,
    /// How many others may name the person who was asked for: the server that recorded them could not
    /// read whom they name.
    pub unread: u64,
}

impl Listing {
    pub(crate) fn new(filter: Filter, limit: usize) -> Self {
        Self {
            filter,
            limit,
            open: HashMap::new(),
            found: BTreeMap::new(),
            more: 0,
            unread: 0,
        }
    }

    /// Takes in the next record. What does not parse is left to `verify`.
    pub(crate) fn take(&mut self, record: &RawRecord) {
        let body = record.kept.header.clone();
        match RecordKind::try_from(i32::from(record.kept.kind)) {
            Ok(RecordKind::Message) => {
                let annex = Annex::decode(record.kept.annex.clone());
                if let (Ok(header), Ok(annex)) = (Header::parse(&body), annex) {
                    self.message(record.index, &header, &annex);
                }
            }
            Ok(RecordKind::Closing) => {
                if let Ok(closing) = Closing::decode(body) {
                    self.closing(&closing);
                }
            }
            Ok(RecordKind::Security) => {
                let annex = Annex::decode(record.kept.annex.clone());
                if let (Ok(event), Ok(annex)) = (SecurityEvent::decode(body), annex)
                    && let Some(exchange) = ExchangeId::from_slice(&event.exchange_id)
                {
                    let summary = refused_early(record.index, exchange, event, &annex);
                    // It came to no message, so it names nobody.
                    let of_anybody = self.filter.subject.is_none() && !self.filter.subjects_unread;
                    if of_anybody && self.filter.begins(&summary) {
                        self.end(summary);
                    }
                }
            }
            _ => {}
        }
    }

    /// What was found, with those that are still open.
    pub(crate) fn finish(mut self) -> Found {
        for (_, begun) in std::mem::take(&mut self.open) {
            self.end_begun(begun);
        }
        Found {
            exchanges: self.found.into_values().collect(),
            more: self.more,
            unread: self.unread,
        }
    }

    fn message(&mut self, index: u64, header: &Header, annex: &Annex) {
        let side = side_of(header.direction, annex.stage());
        let key = (Some(side), header.parties.exchange);
        if header.direction == Direction::Request && header.sequence == 0 {
            let summary = begun(index, side, header, annex);
            if self.filter.begins(&summary) {
                let begun = Begun {
                    summary,
                    named: false,
                    unread: false,
                };
                self.open.insert(key, begun);
            }
        }
        let named = self.filter.is_named_by(annex);
        let Some(begun) = self.open.get_mut(&key) else {
            return;
        };
        begun.named |= named;
        begun.unread |= !annex.subjects_unread.is_empty();
        let summary = &mut begun.summary;
        match header.direction {
            Direction::Request => summary.requests += 1,
            Direction::Reply => summary.replies += 1,
        }
        if header.direction == Direction::Reply && header.is_final {
            summary.outcome = header.refusal_code.clone().map_or_else(
                || Outcome::Answered(status_name(header.status_code)),
                Outcome::Refused,
            );
            if let Some(begun) = self.open.remove(&key) {
                self.end_begun(begun);
            }
        }
    }

    fn closing(&mut self, closing: &Closing) {
        let side = [Side::Consumer, Side::Provider]
            .into_iter()
            .find(|side| side.name() == closing.side);
        let key = ExchangeId::from_slice(&closing.exchange_id).map(|exchange| (side, exchange));
        if let Some(mut begun) = key.and_then(|key| self.open.remove(&key)) {
            begun.summary.outcome = Outcome::Closed(closing.outcome.clone());
            self.end_begun(begun);
        }
    }

    fn end_begun(&mut self, begun: Begun) {
        let named = begun.named || self.filter.subject.is_none();
        if named && (begun.unread || !self.filter.subjects_unread) {
            self.end(begun.summary);
        } else if begun.unread && self.filter.ends(&begun.summary) {
            self.unread += 1;
        }
    }

    fn end(&mut self, summary: Summary) {
        if !self.filter.ends(&summary) {
            return;
        }
        self.found.insert(summary.record, summary);
        if self.found.len() > self.limit {
            self.found.pop_first();
            self.more += 1;
        }
    }
}

fn begun(index: u64, side: Side, header: &Header, annex: &Annex) -> Summary {
    let Parties {
        exchange,
        client,
        service,
        method,
        consumer,
        provider,
        ..
    } = &header.parties;
    let Statements {
        request_id,
        user,
        case_number,
        purpose,
        ..
    } = header.statements.clone();
    let peer = match side {
        Side::Consumer => provider,
        Side::Provider => consumer,
    };
    Summary {
        exchange: exchange.to_string(),
        side: Some(side.name()),
        record: index,
        recorded_at: annex.received_at,
        client: client.to_string(),
        service: service.to_string(),
        method: format!("{}/{}", method.service(), method.method()),
        peer: peer.to_string(),
        request_id,
        case_number,
        user,
        purpose,
        requests: 0,
        replies: 0,
        outcome: Outcome::Open,
    }
}

/// A call that was refused before anything of it was signed or believed.
fn refused_early(index: u64, exchange: ExchangeId, event: SecurityEvent, annex: &Annex) -> Summary {
    Summary {
        exchange: exchange.to_string(),
        side: None,
        record: index,
        recorded_at: annex.received_at,
        client: String::new(),
        service: String::new(),
        method: String::new(),
        peer: event.peer,
        request_id: String::new(),
        case_number: String::new(),
        user: String::new(),
        purpose: String::new(),
        requests: 0,
        replies: 0,
        outcome: Outcome::Refused(event.refusal_code),
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn as_utc<S: Serializer>(milliseconds: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&in_utc(*milliseconds))
}

/// Which side of an exchange the server was that recorded a message so.
pub(crate) const fn side_of(direction: Direction, stage: Stage) -> Side {
    match (direction, stage) {
        (Direction::Request, Stage::Sent) | (Direction::Reply, Stage::Received) => Side::Consumer,
        _ => Side::Provider,
    }
}

/// The name of a gRPC status code, or its number.
pub(crate) fn status_name(code: Option<u32>) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    let code = code.unwrap_or(2);
    let name = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    name.map_or_else(|| code.to_string(), |name| (*name).to_owned())
}
