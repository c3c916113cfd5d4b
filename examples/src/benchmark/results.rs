//! Everything that one run of the benchmark found, as `results.json` keeps it.

use serde::Serialize;

use super::{
    chain::Chain,
    filling::Starts,
    machine::Machine,
    rounds::{Cell, Rounds},
};

/// The whole file.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Where it was measured.
    pub machine: Machine,
    /// What was measured.
    pub plan: Rounds,
    /// Worker threads of each process of a chain.
    pub threads: Threads,
    /// How our servers started, if their logs were filled before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<Starts>,
    /// A chain under a load.
    pub cells: Vec<Cell>,
}

/// Worker threads of each process.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Threads {
    /// Of a proxy, of the backend and of the client.
    pub others: usize,
    /// Of a security server, beside the one that writes its log.
    pub security_server: usize,
}

impl Threads {
    /// The proxies are told to have one; a security server has what its runtime takes: as many as
    /// `TOKIO_WORKER_THREADS` says, or else one for each core.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        let told = std::env::var("TOKIO_WORKER_THREADS").ok();
        Self {
            others: 1,
            security_server: told.and_then(|told| told.parse().ok()).unwrap_or(cores),
        }
    }
}

impl Results {
    /// A chain under a load.
    #[must_use]
    pub fn cell(&self, chain: Chain, payload: usize, concurrency: usize) -> Option<&Cell> {
        self.cells.iter().find(|cell| {
            (cell.chain, cell.payload, cell.concurrency) == (chain, payload, concurrency)
        })
    }

    /// CPU time of the two hops of one chain by that of another.
    #[must_use]
    pub fn ratio(&self, of: Chain, to: Chain, payload: usize, concurrency: usize) -> Option<f64> {
        let cpu = |chain| {
            self.cell(chain, payload, concurrency)?
                .median
                .as_ref()?
                .hops_cpu_us()
        };
        Some(cpu(of)? / cpu(to)?)
    }
}
