//! What a server remembers of its log: the fold of its records, made when it starts and kept while
//! it runs. Nothing else says what is allowed here, which exchanges are open, or who promised what.

pub(crate) mod kept;
mod unended;

use std::sync::Arc;

use prost::Message;
use trust::{
    ExchangeId, Refusal, SubsystemId,
    header::{Direction, Header},
    refusal::Side,
    replay::SeenExchanges,
    wire::evidence::{Annex, Change, ClockAccepted, Closing, PeerCheckpoint, RecordKind, Stage},
};
use verifiable_log::ReadRecord;

use crate::{
    local_state::{InvalidChange, LocalState},
    peer_log::PeerLogs,
};
use unended::Unended;
pub(crate) use unended::{RecordedMessage, side_of};

/// Everything that a server needs of its past.
#[derive(Default)]
pub(crate) struct Recollection {
    local_state: Arc<LocalState>,
    /// Seconds since 1970 (UTC) of the newest record, or the clock that an operator accepted after.
    newest_record: i64,
    peer_logs: Arc<PeerLogs>,
    unended: Unended,
    seen: SeenExchanges,
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
    /// What is hosted and allowed here.
    pub(crate) const fn local_state(&self) -> &Arc<LocalState> {
        &self.local_state
    }

    /// What other servers promised and proved of their logs.
    pub(crate) const fn peer_logs(&self) -> &Arc<PeerLogs> {
        &self.peer_logs
    }

    /// Seconds since 1970 (UTC) of the newest record.
    pub(crate) const fn newest_record(&self) -> i64 {
        self.newest_record
    }

    /// The exchanges that were open when the server stopped, as closing records.
    pub(crate) fn closings(&self) -> Vec<Closing> {
        self.unended.closings().collect()
    }

    /// Takes in the next record, read from the log.
    ///
    /// # Errors
    /// When the record cannot be read; the server must then not start.
    pub(crate) fn take(&mut self, read: &ReadRecord) -> Result<(), UnreadableRecord> {
        let index = read.record.index;
        let kept = &read.record.kept;
        let malformed = |problem: String| UnreadableRecord::Malformed { index, problem };
        let decoding = |error: prost::DecodeError| malformed(error.to_string());
        let annex = Annex::decode(kept.annex.clone()).map_err(decoding)?;
        let received_at = annex.received_at.div_euclid(1000);
        self.took_time(received_at);
        let body = kept.header.clone();
        match RecordKind::try_from(i32::from(kept.kind)) {
            Ok(RecordKind::Message) => {
                let header =
                    Header::parse(&body).map_err(|refusal| malformed(refusal.to_string()))?;
                let message = RecordedMessage {
                    header: &header,
                    stage: annex.stage(),
                    digest: read.leaf.message_digest,
                    signature_digest: read.leaf.signature_digest,
                };
                self.take_seen(&message, received_at);
                self.message(&message);
            }
            Ok(RecordKind::Change) => {
                let change = Change::decode(body).map_err(decoding)?;
                Arc::make_mut(&mut self.local_state)
                    .apply(index, &change)
                    .map_err(|source| UnreadableRecord::Change { index, source })?;
            }
            Ok(RecordKind::Closing) => self.closing(&Closing::decode(body).map_err(decoding)?),
            Ok(RecordKind::Clock) => {
                self.clock_accepted(&ClockAccepted::decode(body).map_err(decoding)?);
            }
            Ok(RecordKind::PeerCheckpoint) => {
                self.peer_log(&PeerCheckpoint::decode(body).map_err(decoding)?);
            }
            Ok(_) => {}
            Err(_) => return Err(malformed(format!("unknown kind {}", kept.kind))),
        }
        Ok(())
    }

    /// Takes in a message that is recorded.
    pub(crate) fn message(&mut self, message: &RecordedMessage<'_>) {
        if let Some(promised) = self.unended.take(message) {
            self.peer_logs.promised(&promised);
        }
    }

    /// Takes in a closing record.
    pub(crate) fn closing(&mut self, closing: &Closing) {
        let side = Side::named(&closing.side);
        if let Some(key) = side.zip(ExchangeId::from_slice(&closing.exchange_id)) {
            self.unended.end(key);
        }
    }

    /// Takes in what another server proved of its log, and the verdict.
    pub(crate) fn peer_log(&self, recorded: &PeerCheckpoint) {
        self.peer_logs.recall(recorded);
    }

    /// Takes in changes that are recorded one after the other from `first` on: all or none.
    ///
    /// # Errors
    /// When one cannot be applied; it was not tried out before it was recorded.
    pub(crate) fn changes(&mut self, first: u64, changes: &[Change]) -> Result<(), InvalidChange> {
        let mut state = LocalState::clone(&self.local_state);
        for (index, change) in (first..).zip(changes) {
            state.apply(index, change)?;
        }
        self.local_state = Arc::new(state);
        Ok(())
    }

    /// Takes in when a record was made, in seconds since 1970 (UTC).
    pub(crate) fn took_time(&mut self, at: i64) {
        self.newest_record = self.newest_record.max(at);
    }

    /// Takes in that an operator accepted the clock: times before that mean nothing.
    pub(crate) fn clock_accepted(&mut self, accepted: &ClockAccepted) {
        self.newest_record = accepted.clock;
        self.seen = SeenExchanges::default();
    }

    /// Remembers an exchange before its first request is recorded.
    ///
    /// # Errors
    /// `Replayed` or `Busy`.
    pub(crate) fn remember(
        &mut self,
        client: &SubsystemId,
        exchange: ExchangeId,
        reference: i64,
    ) -> Result<(), Refusal> {
        self.seen.insert(client, exchange, reference)
    }

    fn take_seen(&mut self, message: &RecordedMessage<'_>, received_at: i64) {
        let Header {
            parties,
            direction,
            sequence,
            ..
        } = message.header;
        if (*direction, *sequence, message.stage) == (Direction::Request, 0, Stage::Received) {
            // The log of an honest server has no exchange twice; a second one changes nothing.
            let _ = self.remember(&parties.client, parties.exchange, received_at);
        }
    }
}
