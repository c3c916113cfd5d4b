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
    /// The median of each figure; none when the chain broke down in every round.
    pub median: Option<Figures>,
    /// Why it broke down in a round, which then has no figures.
    pub breakdown: Option<String>,
    /// Each round.
    pub rounds: Vec<Figures>,
}

impl Rounds {
    /// Measures all of it. The chains take turns, so that a machine that gets slower or faster does
    /// so for all of them.
    ///
    /// # Errors
    /// When something beside the chains breaks down. What breaks down in a chain is a result.
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
                let mut cells_here: Vec<_> = self
                    .chains
                    .iter()
                    .map(|chain| Cell::new(*chain, payload, concurrency))
                    .collect();
                for number in 1..=self.rounds {
                    appends.append(&mut disk.time_appends(APPENDS)?);
                    for cell in &mut cells_here {
                        match self.round(chains, disk, cell).await {
                            Ok(figures) => {
                                progress(&told(cell, number, &figures));
                                cell.rounds.push(figures);
                            }
                            Err(error) => {
                                let error = error.to_string();
                                progress(&format!("{}: {error}", cell.load()));
                                cell.breakdown = Some(error);
                            }
                        }
                    }
                }
                for cell in &mut cells_here {
                    cell.median = Figures::median(&cell.rounds);
                }
                cells.append(&mut cells_here);
            }
        }
        appends.sort_unstable();
        Ok(Measured { cells, appends })
    }

    async fn round(&self, chains: &Chains, disk: &Disk, cell: &Cell) -> Result<Figures, Error> {
        let entry = chains.entry(cell.chain)?;
        let load = Load {
            address: entry.address,
            service: entry.service,
            payload: cell.payload,
            concurrency: Concurrency(cell.concurrency),
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
        Figures::of(&load.run(sample).await?)
    }
}

impl Cell {
    const fn new(chain: Chain, payload: usize, concurrency: usize) -> Self {
        Self {
            chain,
            payload,
            concurrency,
            median: None,
            breakdown: None,
            rounds: Vec::new(),
        }
    }

    /// Whether every call of it was answered well.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.breakdown.is_none() && self.rounds.iter().all(|round| round.failed == 0)
    }

    fn load(&self) -> String {
        let name = self.chain.name();
        format!(
            "{name:>9} {:>8} bytes {:>4} at once",
            self.payload, self.concurrency
        )
    }
}

fn told(cell: &Cell, number: usize, figures: &Figures) -> String {
    let hops = figures.hops_cpu_us().unwrap_or_default();
    let failures: String = figures
        .first_failure
        .iter()
        .map(|first| format!("; {} calls failed, the first: {first}", figures.failed))
        .collect();
    format!(
        "{}, round {number}: {:>7.0} calls/s, p50 {:>7.0} us, hops {hops:>7.1} us of CPU a \
         call{failures}",
        cell.load(),
        figures.requests_per_second,
        figures.p50_us,
    )
}
