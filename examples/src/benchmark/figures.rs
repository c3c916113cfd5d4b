//! What one round of one chain came to, and the median of several.

use std::time::Duration;

use serde::Serialize;

use super::{load::Outcome, usage::Usage};
use crate::Error;

/// Figures of one chain under one load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Calls that ended well, per second.
    pub requests_per_second: f64,
    /// Calls that failed, also while they did not count yet; of all rounds, not their median.
    pub failed: usize,
    /// Why the first of them did.
    pub first_failure: Option<String>,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// The process that the client calls; none when there is no hop.
    pub first: Option<Share>,
    /// The process that calls the backend.
    pub second: Option<Share>,
    /// The backend.
    pub backend: Share,
    /// The client.
    pub client: Share,
    /// Bytes per call written to the disk below the logs, by anybody on the machine; none when
    /// there is no way to know.
    pub written_bytes: Option<f64>,
}

/// The share of one process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Microseconds of a core per call.
    pub cpu_us: f64,
    /// Memory in MiB when calls ceased to count.
    pub resident_mib: f64,
}

/// What all processes of a chain have used at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The process that the client calls, and the one that calls the backend.
    pub hops: Option<[Usage; 2]>,
    /// The backend.
    pub backend: Usage,
    /// The client.
    pub client: Usage,
    /// Bytes written to the disk so far.
    pub written: Option<u64>,
}

impl Figures {
    /// Of one round.
    ///
    /// # Errors
    /// When no call ended well in it.
    pub fn of(outcome: &Outcome<Sample>) -> Result<Self, Error> {
        let calls = outcome.latencies.len();
        if calls == 0 {
            let why = outcome.first_failure.as_deref();
            let why = why.unwrap_or("let them count longer");
            return Err(format!("not one call ended well while calls counted: {why}").into());
        }
        let [before, after] = &outcome.samples;
        let share = |before: &Usage, after: &Usage| Share::of(before, after, calls);
        let hop = |number: usize| {
            let (before, after) = (before.hops.as_ref()?, after.hops.as_ref()?);
            Some(share(&before[number], &after[number]))
        };
        Ok(Self {
            requests_per_second: count(calls) / outcome.elapsed.as_secs_f64(),
            failed: outcome.failed,
            first_failure: outcome.first_failure.clone(),
            p50_us: percentile(&outcome.latencies, 0.5),
            p99_us: percentile(&outcome.latencies, 0.99),
            p999_us: percentile(&outcome.latencies, 0.999),
            first: hop(0),
            second: hop(1),
            backend: share(&before.backend, &after.backend),
            client: share(&before.client, &after.client),
            written_bytes: before
                .written
                .zip(after.written)
                .map(|(before, after)| number(after.saturating_sub(before)) / count(calls)),
        })
    }

    /// The median of each figure by itself.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Option<Self> {
        let one = rounds.first()?;
        let of = |figure: &dyn Fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        let share = |share: &dyn Fn(&Self) -> Option<Share>| {
            let of = |figure: &dyn Fn(Share) -> f64| {
                median(rounds.iter().filter_map(share).map(figure).collect())
            };
            Share {
                cpu_us: of(&|share| share.cpu_us),
                resident_mib: of(&|share| share.resident_mib),
            }
        };
        Some(Self {
            requests_per_second: of(&|round| round.requests_per_second),
            failed: rounds.iter().map(|round| round.failed).sum(),
            first_failure: rounds.iter().find_map(|round| round.first_failure.clone()),
            p50_us: of(&|round| round.p50_us),
            p99_us: of(&|round| round.p99_us),
            p999_us: of(&|round| round.p999_us),
            first: one.first.map(|_| share(&|round| round.first)),
            second: one.second.map(|_| share(&|round| round.second)),
            backend: share(&|round| Some(round.backend)),
            client: share(&|round| Some(round.client)),
            written_bytes: one.written_bytes.map(|_| {
                median(
                    rounds
                        .iter()
                        .filter_map(|round| round.written_bytes)
                        .collect(),
                )
            }),
        })
    }

    /// Microseconds of a core per call of both hops together: the measure of this benchmark.
    #[must_use]
    pub fn hops_cpu_us(&self) -> Option<f64> {
        Some(self.first?.cpu_us + self.second?.cpu_us)
    }
}

impl Share {
    fn of(before: &Usage, after: &Usage, calls: usize) -> Self {
        let cpu = after.cpu.saturating_sub(before.cpu);
        Self {
            cpu_us: microseconds(cpu) / count(calls),
            resident_mib: number(after.resident) / (1024.0 * 1024.0),
        }
    }
}

/// Of sorted latencies, the one that so many of them do not exceed; in microseconds.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank is within the list"
)]
pub fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let rank = (count(sorted.len()) * part).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .map_or(f64::NAN, |latency| microseconds(*latency))
}

fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ if values.is_empty() => f64::NAN,
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "what is counted here is far below 2^53"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    number(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_latency_that_so_many_do_not_exceed() {
        let sorted: Vec<_> = (1..=1000).map(Duration::from_micros).collect();
        assert!((percentile(&sorted, 0.5) - 500.0).abs() < 1e-6);
        assert!((percentile(&sorted, 0.999) - 999.0).abs() < 1e-6);
        assert!((percentile(&sorted[..1], 0.999) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert!((median(vec![9.0, 1.0, 3.0]) - 3.0).abs() < 1e-9);
        assert!((median(vec![9.0, 1.0, 3.0, 4.0]) - 3.5).abs() < 1e-9);
    }
}
