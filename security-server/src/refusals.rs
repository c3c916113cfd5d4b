//! How exchanges end that were not answered: what is said, what is recorded, what is logged.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use proto::refusal::{REFUSAL_TRAILER, RefusalStatus};
use trust::{
    Digest, ExchangeId, Reason, Refusal, SubsystemId,
    exchange::Chain,
    header::Parties,
    refusal::Side,
    wire::evidence::{Closing, SecurityEvent},
};

use crate::{
    counting::{count_exchange, count_messages, count_refused},
    exchange::{Consumption, Counts, Provision},
    interruption::Interruption,
    server::Server,
};

/// How many peers and clients are kept apart; beyond, counting starts anew.
const SOURCES: usize = 4096;

/// Counts refusals by who caused them, so that nobody fills our disk or has us sign without end.
pub(crate) struct RefusalNotes {
    /// Security records about one peer or client; more are counted, not recorded.
    recorded: PerMinute,
    /// Refusals signed for one client; more are said without a signature.
    signed: PerMinute,
}

impl Default for RefusalNotes {
    fn default() -> Self {
        Self {
            recorded: PerMinute::new(10),
            signed: PerMinute::new(120),
        }
    }
}

impl RefusalNotes {
    /// Whether one more refusal may be signed for a client, at a time in seconds.
    ///
    /// # Errors
    /// `TooManyRefusals`.
    pub(crate) fn may_sign(&self, client: &SubsystemId, at: i64) -> Result<(), Refusal> {
        let what = || {
            let what = format!("too many calls of {client} were refused in this minute");
            Refusal::new(Reason::TooManyRefusals, what)
        };
        self.signed
            .count(client.as_str(), at)
            .map(drop)
            .ok_or_else(what)
    }
}

/// Lets so many events of one source pass in a minute.
struct PerMinute {
    limit: u64,
    sources: Mutex<HashMap<String, Minute>>,
}

#[derive(Default)]
struct Minute {
    minute: i64,
    passed: u64,
    held_back: u64,
}

impl PerMinute {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            sources: Mutex::default(),
        }
    }

    /// Counts one event at a time in seconds. None when it is held back; else how many events it
    /// stands for, those held back before it included.
    fn count(&self, source: &str, at: i64) -> Option<u64> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES && !sources.contains_key(source) {
            sources.clear();
        }
        let entry = sources.entry(source.to_owned()).or_default();
        let minute = at.div_euclid(60);
        if entry.minute != minute {
            *entry = Minute {
                minute,
                passed: 0,
                held_back: entry.held_back,
            };
        }
        if entry.passed >= self.limit {
            entry.held_back += 1;
            return None;
        }
        entry.passed += 1;
        Some(1 + std::mem::take(&mut entry.held_back))
    }
}

/// A refusal as it is said: with its code, its status on the wire, and in words.
pub(crate) struct Stated {
    pub(crate) code: String,
    pub(crate) status: RefusalStatus,
    pub(crate) explanation: String,
    /// What a closing record calls it.
    outcome: &'static str,
}

impl Server {
    /// States why a route stopped.
    pub(crate) fn stated(&self, side: Side, interruption: &Interruption) -> Stated {
        let refusal = match interruption {
            Interruption::Refused(refusal) => refusal,
            Interruption::RefusedRequest(refused) => &refused.refusal,
            Interruption::Said(status) => {
                let code = status
                    .trailers
                    .iter()
                    .find(|(name, _)| *name == REFUSAL_TRAILER);
                return Stated {
                    code: code.map(|(_, code)| code.clone()).unwrap_or_default(),
                    outcome: "refused",
                    explanation: format!("said without a signature: {}", status.message),
                    status: (**status).clone(),
                };
            }
        };
        let statement = refusal.clone().said_by(side, self.id().clone());
        Stated {
            code: statement.code(),
            outcome: refusal.reason.name(),
            status: RefusalStatus::from(&statement),
            explanation: refusal.explanation.clone(),
        }
    }

    /// Ends the consumer's side of an exchange that has no final reply.
    pub(crate) async fn close_consumption(&self, exchange: &Consumption, stated: &Stated) {
        let (requests, replies) = {
            let state = exchange.lock();
            (state.requests().clone(), state.replies().clone())
        };
        if requests.newest_recorded().is_none() {
            // Nothing of it is in the log: it is noted like one that was never opened.
            let Parties {
                client, exchange, ..
            } = &exchange.parties;
            self.note_refusal(client.as_str(), Some(*exchange), stated)
                .await;
        }
        self.close(
            Side::Consumer,
            &exchange.parties,
            &requests,
            &replies,
            stated,
        )
        .await;
    }

    /// Ends the provider's side of an exchange that has no final reply.
    pub(crate) async fn close_provision(&self, exchange: &Provision, stated: &Stated) {
        let (requests, replies) = {
            let state = exchange.lock();
            (state.requests().clone(), state.replies().clone())
        };
        self.close(
            Side::Provider,
            &exchange.parties,
            &requests,
            &replies,
            stated,
        )
        .await;
    }

    async fn close(
        &self,
        side: Side,
        parties: &Parties,
        requests: &Chain,
        replies: &Chain,
        stated: &Stated,
    ) {
        if requests.newest_recorded().is_some() && !replies.is_recorded_to_its_end() {
            let closing = closing(
                side,
                parties.exchange.as_bytes(),
                stated.outcome,
                &stated.explanation,
            )
            .with(requests.newest_recorded(), replies.newest_recorded());
            if let Err(error) = self.recorder().record_closing(&closing.0).await {
                tracing::error!(exchange = %parties.exchange, %error, "no closing record");
            }
        }
        self.log_refused(side, parties, stated);
    }

    /// The log line of an exchange that ended with a refusal.
    pub(crate) fn log_refused(&self, side: Side, parties: &Parties, stated: &Stated) {
        self.log_refusal(side, parties, &stated.code, &stated.explanation);
    }

    fn log_refusal(&self, side: Side, parties: &Parties, outcome: &str, why: &str) {
        count_exchange(side, Some(outcome));
        tracing::info!(
            exchange = %parties.exchange,
            side = side.name(),
            client = %parties.client,
            service = %parties.service,
            method = %parties.method,
            outcome,
            why,
            "exchange refused"
        );
    }

    /// The log line of an exchange whose final reply was delivered: an answer, or a refusal that
    /// the provider has signed.
    pub(crate) fn log_consumption(&self, exchange: &Consumption) {
        let parties = &exchange.parties;
        match exchange.refused.get() {
            Some(code) => {
                let why = "the final reply of the provider is a signed refusal";
                self.log_refusal(Side::Consumer, parties, code, why);
            }
            None => self.log_answered(Side::Consumer, parties, &exchange.counts()),
        }
    }

    /// The log line of an answered exchange.
    pub(crate) fn log_answered(&self, side: Side, parties: &Parties, counts: &Counts) {
        count_exchange(side, None);
        count_messages(side, counts.requests, counts.replies);
        tracing::info!(
            exchange = %parties.exchange,
            side = side.name(),
            client = %parties.client,
            service = %parties.service,
            method = %parties.method,
            requests = counts.requests,
            replies = counts.replies,
            outcome = "answered",
            "exchange answered"
        );
    }

    /// Notes a refusal of something that never became evidence. The exchange is named when it is our
    /// own, for then it was told to the client.
    pub(crate) async fn note_refusal(
        &self,
        source: &str,
        exchange: Option<ExchangeId>,
        stated: &Stated,
    ) {
        let (code, why) = (&stated.code, &stated.explanation);
        count_refused(code);
        tracing::info!(source, code, why, "refused");
        let Some(count) = self.notes().recorded.count(source, self.clock().seconds()) else {
            return;
        };
        let event = SecurityEvent {
            refusal_code: code.clone(),
            reason: why.chars().take(1024).collect(),
            peer: source.to_owned(),
            exchange_id: exchange
                .map(|exchange| Bytes::copy_from_slice(exchange.as_bytes()))
                .unwrap_or_default(),
            count,
        };
        if let Err(error) = self.recorder().record_security(&event).await {
            tracing::error!(%error, "no security record");
        }
    }

    /// The name of a peer for notes: its server if it is registered, else its certificate.
    pub(crate) fn name_of_peer(&self, certificate: &Digest) -> String {
        let known = self.newest().peek();
        let server = known
            .as_ref()
            .and_then(|snapshot| snapshot.configuration().server_of(certificate));
        server.map_or_else(|| format!("certificate {certificate}"), ToString::to_string)
    }
}

/// Whether a provider answers with a signed refusal: not about what could not be verified, and not
/// when nobody is there or nothing can be recorded.
pub(crate) const fn is_signed(refusal: &Refusal) -> bool {
    !refusal.reason.blames_peer()
        && !matches!(
            refusal.reason,
            Reason::Cancelled | Reason::PeerLost | Reason::LogUnavailable | Reason::NoConfiguration
        )
}

/// A closing record being made.
pub(crate) struct ClosingRecord(pub(crate) Closing);

/// A closing record for one side of an exchange.
pub(crate) fn closing(side: Side, exchange: &[u8; 16], outcome: &str, why: &str) -> ClosingRecord {
    ClosingRecord(Closing {
        exchange_id: Bytes::copy_from_slice(exchange),
        outcome: outcome.to_owned(),
        reason: why.chars().take(1024).collect(),
        side: side.name().to_owned(),
        ..Closing::default()
    })
}

impl ClosingRecord {
    /// Names the last message of each direction.
    pub(crate) fn with(
        mut self,
        request: Option<(u64, Digest)>,
        reply: Option<(u64, Digest)>,
    ) -> Self {
        self.0.request_sequence = request.map(|(sequence, _)| sequence);
        self.0.request_digest = request
            .map(|(_, digest)| digest.to_bytes())
            .unwrap_or_default();
        self.0.reply_sequence = reply.map(|(sequence, _)| sequence);
        self.0.reply_digest = reply
            .map(|(_, digest)| digest.to_bytes())
            .unwrap_or_default();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_counted_by_the_next_that_passes() {
        let events = PerMinute::new(2);
        let passed = |source, at| events.count(source, at);
        assert_eq!(
            [passed("a", 0), passed("a", 1), passed("a", 2)],
            [Some(1), Some(1), None]
        );
        assert_eq!(passed("b", 2), Some(1));
        assert_eq!(passed("a", 59), None);
        assert_eq!(passed("a", 60), Some(3));
        assert_eq!(passed("a", 61), Some(1));
    }
}
