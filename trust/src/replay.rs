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
    let distance = created_at.abs_diff(reference);
    if distance > FRESHNESS_SECONDS.unsigned_abs() {
        let side = if created_at < reference {
            "before"
        } else {
            "after"
        };
        return Err(Refusal::new(
            Reason::StaleMessage,
            format!("the request was made {distance} seconds {side} our time"),
        ));
    }
    Ok(())
}

/// The exchanges seen lately, in two generations so that forgetting costs nothing.
#[derive(Debug, Default)]
pub struct SeenExchanges {
    current: HashSet<(SubsystemId, ExchangeId)>,
    previous: HashSet<(SubsystemId, ExchangeId)>,
    current_since: i64,
}

impl SeenExchanges {
    /// Remembers an exchange at `reference` time, before its first request is recorded.
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
        let key = (client.clone(), exchange);
        if self.previous.contains(&key) || self.current.contains(&key) {
            return Err(Refusal::new(
                Reason::Replayed,
                format!("exchange {exchange} of {client} was seen before"),
            ));
        }
        if self.current.len() >= MEMORY_LIMIT {
            return Err(Refusal::new(
                Reason::Busy,
                "more exchanges than this server can remember arrived within ten minutes",
            ));
        }
        self.current.insert(key);
        Ok(())
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
