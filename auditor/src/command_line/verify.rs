//! `auditor verify`: whole logs and evidence containers against the anchor.

use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Value, json};
use trust::configuration::Anchor;

use super::{Outcome, WrongUse, explain, read_anchor};
use crate::{audit::audit, container, report::Report};

#[derive(Debug, Parser)]
pub(super) struct Verify {
    /// The folders of logs, and files that are evidence containers.
    #[arg(required = true, value_name = "LOG|CONTAINER")]
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

impl Verify {
    pub(super) fn run(&self, now: i64, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let anchor = read_anchor(&self.anchor)?;
        let at = self.at.map_or(now, jiff::Timestamp::as_second);
        let (mut reports, mut unread) = (Vec::new(), Vec::new());
        for path in &self.logs {
            match report(path, &anchor, at, progress) {
                Ok(report) => reports.push(report),
                Err(error) => unread.push(error),
            }
        }
        let holds = reports.iter().all(Report::holds);
        let text = if reports.is_empty() {
            String::new()
        } else if self.json {
            let logs: Vec<Value> = reports.iter().map(to_json).collect();
            let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
            let whole = json!({
                "holds": holds && unread.is_empty(),
                "unread": unread.iter().map(explain).collect::<Vec<_>>(),
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
        Ok(Outcome {
            text,
            holds,
            unread,
        })
    }
}

fn report(
    path: &Path,
    anchor: &Anchor,
    at: i64,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, WrongUse> {
    if path.is_file() {
        return container::verification::verify(path, anchor, at).map_err(|source| {
            WrongUse::NoContainer {
                path: path.to_owned(),
                source,
            }
        });
    }
    Ok(audit(path, anchor, at, progress)?)
}

/// The same facts for machines.
fn to_json(report: &Report) -> Value {
    let checks: Vec<Value> = report
        .checks()
        .map(|check| {
            let tally = report.tally(check);
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
