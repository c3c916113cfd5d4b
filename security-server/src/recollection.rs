//! What a server remembers when it starts: one pass over its own log.

use std::collections::HashMap;

use prost::Message;
use trust::{
    Digest, ExchangeId,
    header::{Direction, Header},
    refusal::Side,
    replay::{MEMORY_SECONDS, SeenExchanges},
    wire::evidence::{Annex, Change, ClockAccepted, Closing, RecordKind, Stage},
};
use verifiable_log::RawRecord;

use crate::{
    local_state::{InvalidChange, LocalState},
    refusals::closing,
};

/// Everything that a server needs of its past.
#[derive(Default)]
pub(crate) struct Recollection {
    /// What is hosted and allowed here.
    pub(crate) local_state: LocalState,
    /// Seconds since 1970 (UTC) of the newest record, or the clock that an operator accepted after.
    pub(crate) newest_record: i64,
    open: HashMap<(Side, ExchangeId), LastMessages>,
    /// First requests received, newest last, no older than the memory of replay asks for.
    received: std::collections::VecDeque<(i64, trust::SubsystemId, ExchangeId)>,
}

#[derive(Default)]
struct LastMessages {
    request: Option<(u64, Digest)>,
    reply: Option<(u64, Digest)>,
}

/// A record of our own log that we cannot read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRecord {
    /// The record's bytes are not what its kind says.
    #[error("record {index} of the message log is not what its kind says: {problem}")]
    Malformed {
        /// Which record.
        index: u64,
        /// What is wrong.
        problem: String,
    },
    /// A change that cannot be applied to the state before it.
    #[error("record {index} of the message log changes the local state in an impossible way")]
    Change {
        /// Which record.
        index: u64,
        /// What is wrong.
        source: InvalidChange,
    },
}

impl Recollection {
    /// Takes in the next record.
    ///
    /// # Errors
    /// When the record cannot be read; the server must then not start.
    pub(crate) fn take(&mut self, record: &RawRecord) -> Result<(), UnreadableRecord> {
        let index = record.index;
        let malformed = |problem: String| UnreadableRecord::Malformed { index, problem };
        let decoding = |error: prost::DecodeError| malformed(error.to_string());
        let annex = Annex::decode(record.kept.annex.clone()).map_err(decoding)?;
        let received_at = annex.received_at.div_euclid(1000);
        self.newest_record = self.newest_record.max(received_at);
        let body = record.kept.header.clone();
        match RecordKind::try_from(i32::from(record.kept.kind)) {
            Ok(RecordKind::Message) => {
                let header =
                    Header::parse(&body).map_err(|refusal| malformed(refusal.to_string()))?;
                let digest = self.message_digest(record, &header);
                self.take_message(&header, digest, &annex, received_at);
            }
            Ok(RecordKind::Change) => {
                let change = Change::decode(body).map_err(decoding)?;
                self.local_state
                    .apply(index, &change)
                    .map_err(|source| UnreadableRecord::Change { index, source })?;
            }
            Ok(RecordKind::Closing) => {
                let closing = Closing::decode(body).map_err(decoding)?;
                let side = [Side::Consumer, Side::Provider]
                    .into_iter()
                    .find(|side| side.name() == closing.side);
                if let Some(key) = side.zip(ExchangeId::from_slice(&closing.exchange_id)) {
                    self.open.remove(&key);
                }
            }
            Ok(RecordKind::Clock) => {
                let accepted = ClockAccepted::decode(body).map_err(decoding)?;
                self.newest_record = accepted.clock;
                self.received.clear();
            }
            Ok(_) => {}
            Err(_) => return Err(malformed(format!("unknown kind {}", record.kept.kind))),
        }
        Ok(())
    }

    fn message_digest(&self, record: &RawRecord, header: &Header) -> Digest {
        trust::signature::message_digest(
            header.direction,
            header.sequence,
            &Digest::of(&record.kept.header),
            &header.content_digest,
        )
    }

    fn take_message(&mut self, header: &Header, digest: Digest, annex: &Annex, received_at: i64) {
        let sent = annex.stage() == Stage::Sent;
        let side = match (header.direction, sent) {
            (Direction::Request, true) | (Direction::Reply, false) => Side::Consumer,
            (Direction::Request, false) | (Direction::Reply, true) => Side::Provider,
        };
        let key = (side, header.parties.exchange);
        let last = Some((header.sequence, digest));
        match header.direction {
            Direction::Request => {
                // A late request, recorded after the final reply, opens nothing again.
                if header.sequence == 0 || self.open.contains_key(&key) {
                    self.open.entry(key).or_default().request = last;
                }
                if side == Side::Provider && header.sequence == 0 {
                    let client = header.parties.client.clone();
                    self.received
                        .push_back((received_at, client, header.parties.exchange));
                    self.forget_before(received_at - MEMORY_SECONDS);
                }
            }
            Direction::Reply if header.is_final => {
                self.open.remove(&key);
            }
            Direction::Reply => self.open.entry(key).or_default().reply = last,
        }
    }

    fn forget_before(&mut self, oldest: i64) {
        while self.received.front().is_some_and(|(at, ..)| *at < oldest) {
            self.received.pop_front();
        }
    }

    /// The exchanges that were open when the server stopped, as closing records.
    pub(crate) fn closings(&self) -> impl Iterator<Item = Closing> {
        self.open.iter().map(|((side, exchange), last)| {
            let why = "the exchange was open when this server stopped";
            closing(*side, exchange.as_bytes(), "unknown", why)
                .with(last.request, last.reply)
                .0
        })
    }

    /// The exchanges that must still be refused when they come again.
    pub(crate) fn seen(&self) -> SeenExchanges {
        let mut seen = SeenExchanges::default();
        for (at, client, exchange) in &self.received {
            // The log of an honest server has no exchange twice; a second one changes nothing.
            let _ = seen.insert(client, *exchange, *at);
        }
        seen
    }
}
