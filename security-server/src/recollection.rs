//! What a server remembers when it starts: one pass over its own log.

use std::collections::{HashMap, VecDeque};

use prost::Message;
use trust::{
    Digest, ExchangeId,
    header::{Direction, Header},
    leaf::LeafPreimage,
    promise::{Promise, PromisedLeaf},
    record::leaf_preimage,
    refusal::Side,
    replay::{MEMORY_SECONDS, SeenExchanges},
    wire::evidence::{Annex, Change, ClockAccepted, Closing, PeerCheckpoint, RecordKind, Stage},
};
use verifiable_log::{KeptPart, RawRecord};

use crate::{
    local_state::{InvalidChange, LocalState},
    peer_log::PeerLogs,
    refusals::closing,
};

/// Everything that a server needs of its past.
#[derive(Default)]
pub(crate) struct Recollection {
    /// What is hosted and allowed here.
    pub(crate) local_state: LocalState,
    /// Seconds since 1970 (UTC) of the newest record, or the clock that an operator accepted after.
    pub(crate) newest_record: i64,
    /// What other servers promised and proved of their logs.
    pub(crate) peer_logs: PeerLogs,
    open: HashMap<(Side, ExchangeId), LastMessages>,
    /// First requests received, newest last, no older than the memory of replay asks for.
    received: VecDeque<(i64, trust::SubsystemId, ExchangeId)>,
}

#[derive(Default)]
struct LastMessages {
    request: Option<(u64, Digest)>,
    reply: Option<(u64, Digest)>,
    /// Requests that a reply may still promise to keep.
    sent: VecDeque<(u64, LeafPreimage)>,
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

impl LastMessages {
    /// What a reply promises of the request that it names as the newest.
    fn promised(&mut self, reply: &Header) -> Option<PromisedLeaf> {
        let newest = reply.answers.as_ref()?.newest_sequence;
        while self.sent.front()?.0 < newest {
            self.sent.pop_front();
        }
        let (_, request) = self.sent.front().filter(|(sent, _)| *sent == newest)?;
        let promise = Promise::of(reply).ok()??;
        Some(promise.of_request(request.message_digest, request.signature_digest))
    }
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
                let KeptPart {
                    kind,
                    header: bytes,
                    signature,
                    annex: annex_bytes,
                } = &record.kept;
                let leaf = leaf_preimage(*kind, bytes, signature, annex_bytes)
                    .map_err(|refusal| malformed(refusal.to_string()))?;
                self.take_message(&header, leaf, &annex, received_at);
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
            Ok(RecordKind::PeerCheckpoint) => {
                let recorded = PeerCheckpoint::decode(body).map_err(decoding)?;
                self.peer_logs.recall(&recorded);
            }
            Ok(_) => {}
            Err(_) => return Err(malformed(format!("unknown kind {}", record.kept.kind))),
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        header: &Header,
        leaf: LeafPreimage,
        annex: &Annex,
        received_at: i64,
    ) {
        let sent = annex.stage() == Stage::Sent;
        let side = match (header.direction, sent) {
            (Direction::Request, true) | (Direction::Reply, false) => Side::Consumer,
            (Direction::Request, false) | (Direction::Reply, true) => Side::Provider,
        };
        let key = (side, header.parties.exchange);
        let last = Some((header.sequence, leaf.message_digest));
        match header.direction {
            Direction::Request => {
                // A late request, recorded after the final reply, opens nothing again.
                if header.sequence == 0 || self.open.contains_key(&key) {
                    let open = self.open.entry(key).or_default();
                    open.request = last;
                    if side == Side::Consumer {
                        open.sent.push_back((header.sequence, leaf));
                    }
                }
                if side == Side::Provider && header.sequence == 0 {
                    let client = header.parties.client.clone();
                    self.received
                        .push_back((received_at, client, header.parties.exchange));
                    self.forget_before(received_at - MEMORY_SECONDS);
                }
            }
            Direction::Reply => {
                let open = self.open.entry(key).or_default();
                open.reply = last;
                if side == Side::Consumer
                    && let Some(promised) = open.promised(header)
                {
                    self.peer_logs.promised(&promised);
                }
                if header.is_final {
                    self.open.remove(&key);
                }
            }
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
