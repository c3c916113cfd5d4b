//! The command line: `auditor verify LOG... --anchor ANCHOR`.

use std::{fs, io, path::PathBuf};

use clap::{Parser, Subcommand};
use serde_json::{Value, json};
use trust::configuration::Anchor;

use crate::{
    audit::{NotAudited, audit},
    check::Check,
    files::in_words,
    report::Report,
};

/// Check message logs offline, trusting nothing but the anchor.
#[derive(Debug, Parser)]
#[command(name = "auditor", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify whole logs, also while their servers write them.
    ///
    /// Prints each kind of check with its count, what does not hold, and a verdict. Exits with 0
    /// if every check holds, with 1 if one fails, with 2 if there is nothing to check.
    Verify(Verify),
}

#[derive(Debug, Parser)]
struct Verify {
    /// The folders of the logs.
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<PathBuf>,
    /// The anchor (anchor.json) of the instance: the only thing that is trusted.
    #[arg(long, value_name = "FILE")]
    anchor: PathBuf,
    /// The time of the audit, e.g. 2026-01-31T12:00:00Z; nothing may be recorded after it. The
    /// clock of this machine if not given.
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What is wrong with the order, not with a log.
#[derive(Debug, thiserror::Error)]
pub enum WrongUse {
    /// The anchor cannot be read.
    #[error("cannot read the anchor {path}")]
    Anchor {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The anchor is none.
    #[error("{path} is no anchor: {problem}")]
    NoAnchor {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// There is no log.
    #[error(transparent)]
    NotAudited(#[from] NotAudited),
}

/// What a command has to say.
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Whether every check held.
    pub holds: bool,
}

impl Arguments {
    /// Does what was asked. `now` is the time of the clock in seconds since 1970 (UTC);
    /// `progress` is told how many records of which log were read.
    ///
    /// # Errors
    /// When there is nothing that could be checked.
    pub fn run(&self, now: i64, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let Command::Verify(verify) = &self.command;
        verify.run(now, progress)
    }
}

impl Verify {
    fn run(&self, now: i64, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let anchor = self.read_anchor()?;
        let at = self.at.map_or(now, jiff::Timestamp::as_second);
        let reports = self
            .logs
            .iter()
            .map(|folder| audit(folder, &anchor, at, progress))
            .collect::<Result<Vec<_>, _>>()?;
        let holds = reports.iter().all(Report::holds);
        let text = if self.json {
            let logs: Vec<Value> = reports.iter().map(to_json).collect();
            let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
            let whole = json!({
                "holds": holds,
                "records": total(|report| report.facts.records),
                "records_after_checkpoint": total(|report| report.facts.records_after_checkpoint),
                "failures": total(Report::failures),
                "logs": logs,
            });
            format!("{whole:#}\n")
        } else {
            let texts: Vec<String> = reports.iter().map(ToString::to_string).collect();
            texts.join("\n")
        };
        Ok(Outcome { text, holds })
    }

    fn read_anchor(&self) -> Result<Anchor, WrongUse> {
        let path = &self.anchor;
        let text = fs::read_to_string(path).map_err(|source| WrongUse::Anchor {
            path: path.clone(),
            source,
        })?;
        Anchor::from_json(&text).map_err(|refusal| WrongUse::NoAnchor {
            path: path.clone(),
            problem: refusal.explanation,
        })
    }
}

/// The same facts for machines.
fn to_json(report: &Report) -> Value {
    let checks: Vec<Value> = Check::ALL
        .iter()
        .map(|check| {
            let tally = report.tally(*check);
            json!({
                "check": check.name(),
                "words": check.words(),
                "held": tally.held,
                "failed": tally.failed,
                "unchecked": tally.unchecked,
            })
        })
        .collect();
    let findings: Vec<Value> = report
        .findings()
        .iter()
        .map(|finding| {
            json!({
                "check": finding.check.name(),
                "record": finding.record,
                "segment": finding.place.map(|place| place.segment),
                "offset": finding.place.map(|place| place.offset),
                "problem": finding.problem,
            })
        })
        .collect();
    json!({
        "log": report.facts.log,
        "holds": report.holds(),
        "failures": report.failures(),
        "verdict": report.verdict(),
        "facts": report.facts,
        "checks": checks,
        "findings": findings,
        "notes": report.sentences(),
    })
}

/// An error with its causes, for the one place that prints it.
#[must_use]
pub fn explain(error: &WrongUse) -> String {
    in_words(error)
}
