//! Replay: is a first request fresh, and was its exchange not seen before?

use std::collections::HashSet;

use crate::{
    ExchangeId, SubsystemId,
    refusal::{Reason, Refusal},
};

/// How far a first request's time may lie from ours, in seconds.
pub const FRESHNESS_SECONDS: i64 = 5 * 60;

/// How long an exchange must be remembered: a request may be as old as the window on one side and
/// arrive as late as the window on the other.
pub const MEMORY_SECONDS: i64 = 2 * FRESHNESS_SECONDS;

/// How many exchanges are remembered at most; beyond, new ones are refused rather than forgotten.
const MEMORY_LIMIT: usize = 4 * 1024 * 1024;

/// The time to measure against: a clock set back does not reopen the window.
///
/// # Errors
/// `ClockBehind` when the clock stands more than five minutes behind the newest record.
pub fn reference_time(clock: i64, newest_record: i64) -> Result<i64, Refusal> {
    if clock < newest_record - FRESHNESS_SECONDS {
        return Err(Refusal::new(
            Reason::ClockBehind,
            format!(
                "the clock stands {} seconds behind the newest record of the message log",
                newest_record - clock
            ),
        ));
    }
    Ok(clock.max(newest_record))
}

/// Checks the time of a first request against [`reference_time`].
///
/// # Errors
/// `StaleMessage`.
pub fn check_freshness(created_at: i64, reference: i64) -> Result<(), Refusal> {
    check_window("request", created_at, reference)
}

fn check_window(what: &str, made_at: i64, reference: i64) -> Result<(), Refusal> {
    let distance = made_at.abs_diff(reference);
    if distance > FRESHNESS_SECONDS.unsigned_abs() {
        let side = if made_at < reference {
            "before"
        } else {
            "after"
        };
        return Err(Refusal::new(
            Reason::StaleMessage,
            format!("the {what} was made {distance} seconds {side} our time"),
        ));
    }
    Ok(())
}

/// Checks the time within an exchange's id against [`reference_time`], so that no id is fresh again
/// once it is forgotten.
///
/// # Errors
/// `StaleMessage`.
pub fn check_exchange_time(exchange: &ExchangeId, reference_seconds: i64) -> Result<(), Refusal> {
    let seconds = i64::try_from(exchange.milliseconds() / 1000).unwrap_or(i64::MAX);
    check_window("exchange id", seconds, reference_seconds)
}

/// The exchanges seen lately, in two generations so that forgetting costs nothing.
#[derive(Debug, Default)]
pub struct SeenExchanges {
    current: HashSet<ExchangeId>,
    previous: HashSet<ExchangeId>,
    current_since: i64,
}

impl SeenExchanges {
    /// Remembers an exchange at `reference` time, before its first request is recorded: by its id
    /// alone, which is what logs and auditors find it by. `client` is who asks.
    ///
    /// # Errors
    /// `Replayed` when it is remembered already, `Busy` when the memory is full.
    pub fn insert(
        &mut self,
        client: &SubsystemId,
        exchange: ExchangeId,
        reference: i64,
    ) -> Result<(), Refusal> {
        if reference - self.current_since > MEMORY_SECONDS {
            self.previous = std::mem::take(&mut self.current);
            self.current_since = reference;
        }
        if self.previous.contains(&exchange) || self.current.contains(&exchange) {
            return Err(Refusal::new(
                Reason::Replayed,
                format!("exchange {exchange}, opened now by {client}, was seen before"),
            ));
        }
        if self.current.len() >= MEMORY_LIMIT {
            return Err(Refusal::new(
                Reason::Busy,
                "more exchanges than this server can remember arrived within ten minutes",
            ));
        }
        self.current.insert(exchange);
        Ok(())
    }

    /// The exchanges that are not too old at `reference` time, and so at none after it: whoever
    /// remembers these remembers enough. One from ahead of that time may be fresh later.
    pub fn fresh(&self, reference: i64) -> impl Iterator<Item = &ExchangeId> {
        let oldest = u64::try_from(reference - FRESHNESS_SECONDS).unwrap_or(0);
        let seen = self.previous.iter().chain(&self.current);
        seen.filter(move |exchange| exchange.milliseconds() / 1000 >= oldest)
    }

    /// Remembers these, as if they were all seen at `reference` time.
    #[must_use]
    pub fn of(exchanges: impl IntoIterator<Item = ExchangeId>, reference: i64) -> Self {
        Self {
            current: exchanges.into_iter().collect(),
            previous: HashSet::new(),
            current_since: reference,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_remembered_for_as_long_as_it_could_be_fresh() {
        let client: SubsystemId = "VN/GOV/A/desk".parse().unwrap();
        let id = ExchangeId::from_parts(1, &[1; 10]);
        for later in [0, 1, MEMORY_SECONDS, MEMORY_SECONDS + 1, 2 * MEMORY_SECONDS] {
            let mut seen = SeenExchanges::default();
            seen.insert(&client, id, 1_000_000).unwrap();
            let other = ExchangeId::from_parts(2, &[2; 10]);
            seen.insert(&client, other, 1_000_000 + later / 2).unwrap();
            let again = seen.insert(&client, id, 1_000_000 + later);
            assert_eq!(again.unwrap_err().reason, Reason::Replayed, "{later}");
        }
    }

    #[test]
    fn an_exchange_is_remembered_for_every_client() {
        let id = ExchangeId::from_parts(1, &[1; 10]);
        let mut seen = SeenExchanges::default();
        let [desk, archive] = ["VN/GOV/A/desk", "VN/GOV/A/archive"].map(|id| id.parse().unwrap());
        seen.insert(&desk, id, 1_000_000).unwrap();
        let other = seen.insert(&archive, id, 1_000_000).unwrap_err();
        assert_eq!(other.reason, Reason::Replayed);
    }

    #[test]
    fn an_exchange_id_is_forgotten_only_when_its_own_time_has_passed() {
        let made_at = 1_800_000_000;
        let id = ExchangeId::from_parts(1_800_000_000_999, &[1; 10]);
        let stale = |reference| {
            let checked = check_exchange_time(&id, reference);
            checked.map_err(|refusal| refusal.reason) == Err(Reason::StaleMessage)
        };
        for (distance, expected) in [(-301, true), (-300, false), (300, false), (301, true)] {
            assert_eq!(stale(made_at + distance), expected, "{distance}");
        }
        let accepted = FRESHNESS_SECONDS * 2;
        assert!(
            accepted <= MEMORY_SECONDS,
            "accepted longer than remembered"
        );
        let last = ExchangeId::from_parts((1 << 48) - 1, &[1; 10]);
        assert!(check_exchange_time(&last, i64::MAX).is_err());
    }

    #[test]
    fn what_is_kept_of_the_memory_refuses_all_that_could_be_fresh() {
        let client: SubsystemId = "VN/GOV/A/desk".parse().unwrap();
        let now = 1_800_000_000;
        let at = |seconds: i64| {
            let milliseconds = u64::try_from(seconds * 1000).unwrap();
            ExchangeId::from_parts(milliseconds, &[1; 10])
        };
        let mut seen = SeenExchanges::default();
        for distance in [-700, -301, -300, 0, 300, 301] {
            let reference = now + distance.min(0);
            seen.insert(&client, at(now + distance), reference).unwrap();
        }
        let mut kept = SeenExchanges::of(seen.fresh(now).copied(), now);
        assert_eq!(kept.current.len(), 4, "what is too old is not kept");
        for distance in [-300, 0, 300, 301] {
            let again = kept.insert(&client, at(now + distance), now + 600);
            assert_eq!(again.unwrap_err().reason, Reason::Replayed, "{distance}");
        }
    }

    #[test]
    fn freshness_is_five_minutes_each_way() {
        assert!(check_freshness(1_000, 1_300).is_ok());
        assert!(check_freshness(1_000, 1_301).is_err());
        assert!(check_freshness(1_300, 1_000).is_ok());
        assert!(check_freshness(1_301, 1_000).is_err());
        assert!(check_freshness(i64::MIN, i64::MAX).is_err());
    }

    #[test]
    fn a_clock_set_back_is_named_and_does_not_reopen_the_window() {
        assert_eq!(reference_time(1_000, 1_200).unwrap(), 1_200);
        assert_eq!(
            reference_time(1_000, 1_301).unwrap_err().reason,
            Reason::ClockBehind
        );
    }
}
