//! What a process has used so far, as Linux accounts it under `/proc`.

use std::{fs, time::Duration};

use crate::Error;

/// The unit of times under `/proc`, on every architecture: Linux' USER_HZ is 100.
const TICK_MILLISECONDS: u64 = 10;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time on a core since it started, in user and system mode, of all threads; accounted in steps of 10 ms.
    pub cpu: Duration,
    /// Memory now, in bytes.
    pub resident: u64,
    /// The most memory so far, in bytes.
    pub most_resident: u64,
}

impl Usage {
    /// Of a running process.
    ///
    /// # Errors
    /// When there is none, or it may not be looked at.
    pub fn of(process: u32) -> Result<Self, Error> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{process}/{name}"))
                .map_err(|error| format!("process {process} cannot be measured: {error}"))
        };
        let stat = read("stat")?;
        // The name of the program, in brackets, may hold spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("a process has no name")?;
        let ticks = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<u64, _>>()?;
        let status = read("status")?;
        Ok(Self {
            cpu: Duration::from_millis(ticks * TICK_MILLISECONDS),
            resident: number_after(&status, "VmRSS:")? * 1024,
            most_resident: number_after(&status, "VmHWM:")? * 1024,
        })
    }
}

/// The first number of the line that begins with a name.
fn number_after(text: &str, name: &str) -> Result<u64, Error> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(value
        .ok_or_else(|| format!("there is no {name}"))?
        .parse()?)
}
