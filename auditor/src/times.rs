//! The times of a log: what may lie between a decision and its record, and when a message is fresh.

use trust::{
    ExchangeId,
    header::{Direction, Header},
    replay::{FRESHNESS_SECONDS, check_exchange_time, check_freshness, reference_time},
    wire::evidence::Stage,
};

/// How many seconds may lie between a decision and the time in its record. The annex says when a
/// message was recorded; the server decided shortly before, by the configuration and rights of
/// that moment.
pub const RECORDING_SECONDS: i64 = 10;

/// Whole seconds of a time in milliseconds.
pub(crate) const fn seconds(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(1000)
}

/// A time in milliseconds since 1970 (UTC), as RFC 3339 writes it.
pub(crate) fn in_utc(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| format!("{milliseconds} ms"), |at| at.to_string())
}

/// Checks times in the order of the records.
pub(crate) struct Times {
    /// The time of the audit; nothing can have been recorded after it.
    audited_at: i64,
    /// The newest time at which a first request was received, as freshness is measured.
    newest: Option<i64>,
}

impl Times {
    pub(crate) const fn new(audited_at: i64) -> Self {
        Self {
            audited_at,
            newest: None,
        }
    }

    /// An operator accepted the clock.
    pub(crate) fn clock_accepted(&mut self, clock: i64) {
        // A log can say anything; the years of a clock leave room to reckon with.
        self.newest = Some(clock.clamp(0, i64::from(u32::MAX) * 64));
    }

    /// Whether the time that a message claims fits the time of its record.
    pub(crate) fn check(
        &mut self,
        header: &Header,
        stage: Stage,
        received_at: i64,
    ) -> Result<(), String> {
        if received_at > self.audited_at.saturating_add(FRESHNESS_SECONDS) {
            return Err(format!(
                "it was recorded {} seconds after the time of this audit",
                received_at.saturating_sub(self.audited_at)
            ));
        }
        if stage == Stage::Sent {
            return check_freshness(header.created_at, received_at)
                .map_err(|_| difference(header.created_at, received_at));
        }
        if header.direction == Direction::Request && header.sequence == 0 {
            return self.check_opening(header, received_at);
        }
        Ok(())
    }

    /// A first request is fresh and so is the exchange's id, which is then not opened again once
    /// nobody remembers it; and the clock did not go back before it.
    fn check_opening(&mut self, header: &Header, received_at: i64) -> Result<(), String> {
        let created_at = header.created_at;
        let newest = self.newest.unwrap_or(received_at);
        let reference = reference_time(received_at, newest).map_err(|_| {
            format!(
                "it was accepted while the clock stood {} seconds behind the newest request, and \
                 no operator had accepted the clock",
                newest - received_at
            )
        })?;
        self.newest = Some(reference);
        // It was judged a moment before it was recorded.
        let age = reference.saturating_sub(created_at);
        if !(-FRESHNESS_SECONDS..=FRESHNESS_SECONDS + RECORDING_SECONDS).contains(&age) {
            return Err(difference(created_at, reference));
        }
        check_exchange(&header.parties.exchange, reference)
    }
}

/// An id is as old as a first request may be, when it was judged or when it was recorded.
fn check_exchange(exchange: &ExchangeId, reference: i64) -> Result<(), String> {
    check_exchange_time(exchange, reference.saturating_sub(RECORDING_SECONDS))
        .or_else(|_| check_exchange_time(exchange, reference))
        .map_err(|refusal| refusal.explanation)
}

fn difference(created_at: i64, received_at: i64) -> String {
    let side = if created_at < received_at {
        "before"
    } else {
        "after"
    };
    format!(
        "it claims to be made {} seconds {side} it was recorded; {FRESHNESS_SECONDS} are allowed",
        created_at.abs_diff(received_at)
    )
}
