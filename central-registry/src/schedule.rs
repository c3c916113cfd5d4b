//! When the next publication is due. Pure: times are milliseconds since 1970 (UTC).

use std::time::Duration;

/// The pace of publications.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    interval: i64,
    validity: i64,
}

impl Schedule {
    pub(crate) fn new(interval: Duration, validity: Duration) -> Self {
        let milliseconds =
            |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2);
        Self {
            interval: milliseconds(interval),
            validity: milliseconds(validity),
        }
    }

    /// When to publish again after a publication at `last`: changes half an interval after it,
    /// the same state when a third of the validity has passed.
    pub(crate) const fn due(&self, last: i64, changed: bool) -> i64 {
        if changed {
            return last.saturating_add(self.interval / 2);
        }
        let third = self.validity / 3;
        last.saturating_add(if third > self.interval {
            third
        } else {
            self.interval
        })
    }

    /// When to try again after a failure at `failed`.
    pub(crate) const fn retry(&self, failed: i64) -> i64 {
        failed.saturating_add(self.interval)
    }

    /// How long to wait for `due`, at most an interval.
    pub(crate) fn pause(&self, now: i64, due: i64) -> Duration {
        let wait = due.saturating_sub(now).clamp(0, self.interval);
        Duration::from_millis(u64::try_from(wait).unwrap_or_default())
    }

    /// Until when a publication issued at `issued_at` (whole seconds) is valid: whole seconds.
    pub(crate) const fn expires_at(&self, issued_at: i64) -> i64 {
        issued_at.saturating_add((self.validity + 999) / 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_soon_and_renewals_long_before_the_end() {
        let schedule = Schedule::new(Duration::from_secs(10), Duration::from_secs(600));
        assert_eq!(schedule.due(1_000, true), 6_000);
        assert_eq!(schedule.due(1_000, false), 201_000);
        assert_eq!(schedule.retry(1_000), 11_000);
        assert_eq!(schedule.expires_at(1), 601);
        let short = Schedule::new(Duration::from_millis(200), Duration::from_secs(3));
        assert_eq!(short.due(0, true), 100);
        assert_eq!(short.due(0, false), 1_000);
        let slow = Schedule::new(Duration::from_secs(2), Duration::from_millis(6_500));
        assert_eq!(slow.due(0, false), 2_166);
        assert_eq!(slow.expires_at(0), 7);
    }
}
