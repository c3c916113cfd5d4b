//! The times of a log: what may lie between a decision and its record, and when a message is fresh.

use trust::{
    ExchangeId,
    header::{Direction, Header},
    replay::{FRESHNESS_SECONDS, check_exchange_time, check_freshness},
    wire::evidence::Stage,
};

use crate::report::Report;

/// How many seconds may lie between a decision and the time in its record. The annex says when a
/// message was recorded; the server decided shortly before, by the configuration and rights of
/// that moment.
pub const RECORDING_SECONDS: i64 = 10;
/// How far the time of a message may lie behind that of a record before it: a server refuses calls
/// when its clock does, a moment before it records.
const SET_BACK_SECONDS: i64 = FRESHNESS_SECONDS + RECORDING_SECONDS;

/// Whole seconds of a time in milliseconds.
pub(crate) const fn seconds(milliseconds: i64) -> i64 {
    milliseconds.div_euclid(1000)
}

/// A time in milliseconds since 1970 (UTC), as RFC 3339 writes it.
pub(crate) fn in_utc(milliseconds: i64) -> String {
    jiff::Timestamp::from_millisecond(milliseconds)
        .map_or_else(|_| format!("{milliseconds} ms"), |at| at.to_string())
}

/// When a record was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// What the record says, in seconds since 1970 (UTC).
    pub(crate) at: i64,
    /// The newest time in the log up to this record. What lies between two records is measured by
    /// it: a record can be dated back, its place cannot.
    pub(crate) logged_at: i64,
}

/// Checks times in the order of the records.
pub(crate) struct Times {
    /// The time of the audit; nothing can have been recorded after it.
    audited_at: i64,
    /// The newest time of a record, or the clock that an operator accepted since.
    newest: Option<i64>,
    /// Local records that are dated back: how many, and the first.
    set_back: Option<(u64, u64)>,
}

impl Times {
    pub(crate) const fn new(audited_at: i64) -> Self {
        Self {
            audited_at,
            newest: None,
            set_back: None,
        }
    }

    /// Takes in the time of the next record, in seconds since 1970 (UTC).
    pub(crate) fn take(&mut self, at: i64) -> Moment {
        let logged_at = self.newest.map_or(at, |newest| newest.max(at));
        self.newest = Some(logged_at);
        Moment { at, logged_at }
    }

    /// An operator accepted the clock.
    pub(crate) fn clock_accepted(&mut self, clock: i64) {
        // A log can say anything; the years of a clock leave room to reckon with.
        self.newest = Some(clock.clamp(0, i64::from(u32::MAX) * 64));
    }

    /// Whether a local record can be of this time. A server whose clock stands behind refuses
    /// calls, and records that it does: so such a record is counted and no failure.
    pub(crate) fn check_local(&mut self, index: u64, moment: Moment) -> Result<(), String> {
        if moment.is_set_back() {
            self.set_back.get_or_insert((0, index)).0 += 1;
        }
        self.check_audited(moment)
    }

    /// Whether the time that a message claims fits the time of its record.
    pub(crate) fn check(
        &self,
        header: &Header,
        stage: Stage,
        moment: Moment,
    ) -> Result<(), String> {
        self.check_audited(moment)?;
        if moment.is_set_back() {
            return Err(format!(
                "it was recorded while the clock stood {} seconds behind the newest record, and no \
                 operator had accepted the clock",
                moment.logged_at.saturating_sub(moment.at)
            ));
        }
        if stage == Stage::Sent {
            return check_freshness(header.created_at, moment.at)
                .map_err(|_| difference(header.created_at, moment.at));
        }
        if header.direction == Direction::Request && header.sequence == 0 {
            return check_opening(header, moment.logged_at);
        }
        Ok(())
    }

    /// At the end of the log.
    pub(crate) fn finish(&self, report: &mut Report) {
        if let Some((count, first)) = self.set_back {
            report.notes.push(format!(
                "The clock of the server stood behind its log: {count} local records are dated more \
                 than {SET_BACK_SECONDS} seconds before one that precedes them, the first is record \
                 {first}."
            ));
        }
    }

    fn check_audited(&self, moment: Moment) -> Result<(), String> {
        if moment.at > self.audited_at.saturating_add(FRESHNESS_SECONDS) {
            return Err(format!(
                "it was recorded {} seconds after the time of this audit",
                moment.at.saturating_sub(self.audited_at)
            ));
        }
        Ok(())
    }
}

impl Moment {
    const fn is_set_back(self) -> bool {
        self.at < self.logged_at.saturating_sub(SET_BACK_SECONDS)
    }
}

/// A first request is fresh and so is the exchange's id, which is then not opened again once nobody
/// remembers it. A clock that was set back makes nothing fresh again.
fn check_opening(header: &Header, reference: i64) -> Result<(), String> {
    // It was judged a moment before it was recorded.
    let age = reference.saturating_sub(header.created_at);
    if !(-FRESHNESS_SECONDS..=SET_BACK_SECONDS).contains(&age) {
        return Err(difference(header.created_at, reference));
    }
    check_exchange(&header.parties.exchange, reference)
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
