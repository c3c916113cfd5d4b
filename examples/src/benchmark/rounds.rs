//! Every chain under every load, in rounds that take the chains in turn.

use std::time::Duration;

use serde::Serialize;

use super::{
    chain::{Chain, Chains},
    disk::Disk,
    figures::{Figures, Sample},
    load::{Concurrency, Load},
    usage::Usage,
};
use crate::Error;

/// What is measured.
#[derive(Debug, Clone, Serialize)]
pub struct Rounds {
    /// Which chains.
    pub chains: Vec<Chain>,
    /// Lengths of the message in bytes.
    pub payloads: Vec<usize>,
    /// Calls at once.
    pub concurrency: Vec<usize>,
    /// Seconds that calls count in one round.
    pub seconds: f64,
    /// Seconds before that.
    pub warm_up_seconds: f64,
    /// How often.
    pub rounds: usize,
}

/// All that was measured.
pub struct Measured {
    /// Each chain under each load.
    pub cells: Vec<Cell>,
    /// How long appends to the disk took between the rounds, sorted.
    pub appends: Vec<Duration>,
}

/// How many appends are timed before each round.
const APPENDS: usize = 50;

/// One chain under one load.
#[derive(Debug, Serialize)]
pub struct Cell {
    /// The chain.
    pub chain: Chain,
    /// Length of the message in bytes.
    pub payload: usize,
    /// Calls at once.
    pub concurrency: usize,
    /// The median of each figure.
    pub median: Figures,
    /// Each round.
    pub rounds: Vec<Figures>,
}

impl Rounds {
    /// Measures all of it. The chains take turns, so that a machine that gets slower or faster does
    /// so for all of them.
    ///
    /// # Errors
    /// Of the first call that fails, in any chain.
    pub async fn run(
        &self,
        chains: &Chains,
        disk: &Disk,
        mut progress: impl FnMut(&str),
    ) -> Result<Measured, Error> {
        let mut cells = Vec::new();
        let mut appends = Vec::new();
        for &concurrency in &self.concurrency {
            for &payload in &self.payloads {
                let mut rounds = vec![Vec::new(); self.chains.len()];
                for number in 1..=self.rounds {
                    appends.append(&mut disk.time_appends(APPENDS)?);
                    for (position, &chain) in self.chains.iter().enumerate() {
                        let figures = self
                            .round(chains, disk, chain, payload, concurrency)
                            .await?;
                        progress(&told(chain, payload, concurrency, number, &figures));
                        rounds[position].push(figures);
                    }
                }
                for (&chain, rounds) in self.chains.iter().zip(rounds) {
                    let median = Figures::median(&rounds).ok_or("there was no round")?;
                    cells.push(Cell {
                        chain,
                        payload,
                        concurrency,
                        median,
                        rounds,
                    });
                }
            }
        }
        appends.sort_unstable();
        Ok(Measured { cells, appends })
    }

    async fn round(
        &self,
        chains: &Chains,
        disk: &Disk,
        chain: Chain,
        payload: usize,
        concurrency: usize,
    ) -> Result<Figures, Error> {
        let entry = chains.entry(chain)?;
        let load = Load {
            address: entry.address,
            service: entry.service,
            payload,
            concurrency: Concurrency(concurrency),
            warm_up: Duration::from_secs_f64(self.warm_up_seconds),
            duration: Duration::from_secs_f64(self.seconds),
        };
        let sample = || {
            let hops = entry
                .hops
                .map(|[first, second]| Ok::<_, Error>([Usage::of(first)?, Usage::of(second)?]));
            Ok(Sample {
                hops: hops.transpose()?,
                backend: chains.backend()?,
                client: Usage::of(std::process::id())?,
                written: disk.written(),
            })
        };
        let outcome = load.run(sample).await;
        let figures = outcome.and_then(|outcome| Figures::of(&outcome));
        figures.map_err(|error| {
            let name = chain.name();
            format!("{name}, {payload} bytes, {concurrency} at once: {error}").into()
        })
    }
}

fn told(
    chain: Chain,
    payload: usize,
    concurrency: usize,
    number: usize,
    figures: &Figures,
) -> String {
    let hops = figures.hops_cpu_us().unwrap_or_default();
    format!(
        "{:>9} {payload:>8} bytes {concurrency:>4} at once, round {number}: {:>7.0} calls/s, \
         p50 {:>7.0} us, hops {hops:>7.1} us of CPU a call",
        chain.name(),
        figures.requests_per_second,
        figures.p50_us,
    )
}
