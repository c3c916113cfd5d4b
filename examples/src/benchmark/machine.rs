//! The machine and the programs, so that figures can be held against those of another.

use std::{fs, time::Duration};

use serde::Serialize;
use tokio::process::Command;

use super::{chain::Chain, disk::Disk, figures::percentile};
use crate::Error;

/// What a reader must know of where it was measured. Names no path.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// When, in UTC: `YYYY-MM-DD HH:MM`.
    pub time: String,
    /// As the processor names itself.
    pub processor: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// In MiB.
    pub memory_mib: u64,
    /// The version of Linux.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// Below the logs.
    pub file_system: String,
    /// Half of the appends of 4 KiB with `fdatasync` took at most so many microseconds.
    pub fdatasync_p50_us: f64,
    /// 99 of 100 appends.
    pub fdatasync_p99_us: f64,
    /// Processes that wanted a core, averaged over a minute: before anything was started.
    pub load_before: f64,
    /// The same at the end, with our own.
    pub load_after: f64,
    /// Name and version of each program that was measured.
    pub programs: Vec<String>,
}

impl Machine {
    /// Looks at this machine before anything is measured.
    ///
    /// # Errors
    /// When Linux does not say, or a program cannot be started.
    pub async fn look(disk: &Disk, chains: &[Chain]) -> Result<Self, Error> {
        let mut programs = vec![format!("Lienthong {}", env!("CARGO_PKG_VERSION"))];
        for (chain, program, argument) in [
            (Chain::Nginx, "nginx", "-v"),
            (Chain::Haproxy, "haproxy", "-v"),
            (Chain::Envoy, "envoy", "--version"),
        ] {
            if chains.contains(&chain) {
                programs.push(format!(
                    "{} {}",
                    chain.name(),
                    version(program, argument).await?
                ));
            }
        }
        Ok(Self {
            time: jiff::Timestamp::now()
                .strftime("%Y-%m-%d %H:%M")
                .to_string(),
            processor: value("/proc/cpuinfo", "model name", ':')?,
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: first_number(&value("/proc/meminfo", "MemTotal", ':')?)? / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            system: value("/etc/os-release", "PRETTY_NAME", '=')?
                .trim_matches('"')
                .to_owned(),
            file_system: disk.file_system.clone(),
            fdatasync_p50_us: f64::NAN,
            fdatasync_p99_us: f64::NAN,
            load_before: load()?,
            load_after: f64::NAN,
            programs,
        })
    }

    /// Adds what is only known afterwards.
    ///
    /// # Errors
    /// When Linux does not say how busy it is.
    pub fn finish(&mut self, appends: &[Duration]) -> Result<(), Error> {
        self.fdatasync_p50_us = percentile(appends, 0.5);
        self.fdatasync_p99_us = percentile(appends, 0.99);
        self.load_after = load()?;
        Ok(())
    }
}

fn load() -> Result<f64, Error> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

fn value(file: &str, name: &str, separator: char) -> Result<String, Error> {
    let text = fs::read_to_string(file)?;
    let found = text.lines().find_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    Ok(found.unwrap_or_else(|| "unknown".to_owned()))
}

fn first_number(text: &str) -> Result<u64, Error> {
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}

/// The first word of what a program says of itself that begins like a version.
async fn version(program: &str, argument: &str) -> Result<String, Error> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .await
        .map_err(|error| format!("{program} cannot be started ({error}); see --help"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let word = said
        .split(|letter: char| letter.is_whitespace() || letter == '/')
        .find(|word| {
            word.contains('.') && word.starts_with(|letter: char| letter.is_ascii_digit())
        });
    Ok(word.unwrap_or("of an unknown version").to_owned())
}
