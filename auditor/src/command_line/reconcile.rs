//! `auditor reconcile`: two logs held against each other.

use std::{fmt::Write, path::PathBuf};

use clap::Parser;

use super::{Outcome, WrongUse, read_anchor};
use crate::{
    audit::audit,
    printable::printable,
    reconciliation::{Reconciliation, reconcile},
    report::Report,
};

#[derive(Debug, Parser)]
pub(super) struct Reconcile {
    /// The folder of the one log.
    #[arg(value_name = "LOG_A")]
    first: PathBuf,
    /// The folder of the other, of another server.
    #[arg(value_name = "LOG_B")]
    second: PathBuf,
    /// Verify both logs too, trusting this anchor (anchor.json) alone.
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Reconcile {
    pub(super) fn run(&self, now: i64, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let folders = [self.first.as_path(), self.second.as_path()];
        let mut verified: Vec<Report> = Vec::new();
        if let Some(anchor) = &self.anchor {
            let anchor = read_anchor(anchor)?;
            for folder in folders {
                verified.push(audit(folder, &anchor, now, progress)?);
            }
        }
        let outcome = reconcile(folders, progress)?;
        let verdicts: Vec<String> = verified.iter().map(Report::verdict).collect();
        let text = if self.json {
            let whole = serde_json::json!({
                "holds": outcome.holds() && verified.iter().all(Report::holds),
                "verified": verdicts,
                "reconciliation": outcome,
            });
            format!("{whole:#}\n")
        } else {
            let verify = verified.iter().all(Report::holds);
            words(&outcome, &verdicts, verify)
        };
        Ok(Outcome {
            text,
            holds: outcome.holds() && verified.iter().all(Report::holds),
            unread: Vec::new(),
        })
    }
}

fn words(outcome: &Reconciliation, verdicts: &[String], verify: bool) -> String {
    let mut text = String::new();
    let [first, second] = &outcome.logs;
    // A String takes every write.
    let _ = writeln!(text, "Log {first}\nand log {second}\n");
    for (count, what) in [
        (outcome.alike, "exchanges recorded alike by both"),
        (
            outcome.unequal,
            "of which one side has more, or another end: under way, or cut off between the two",
        ),
        (
            outcome.not_delivered,
            "answered by the provider; the answer did not reach the consumer, as its log says",
        ),
        (
            outcome.never_arrived,
            "recorded by the consumer alone; no answer is known, so they may never have arrived",
        ),
        (
            outcome.promises_kept,
            "promises kept: the promised record stands where it was promised",
        ),
        (
            outcome.in_other_generation,
            "promised in a log that the provider lost before the one at hand began",
        ),
        (
            outcome.with_others,
            "exchanges with other servers, which these two logs say nothing about",
        ),
    ] {
        let _ = writeln!(text, "{count:>10}  {what}");
    }
    if !outcome.differences.is_empty() {
        let _ = writeln!(text, "\nWhat is lacking or broken:");
    }
    for it in &outcome.differences {
        let is_promise = it.problem.starts_with("BROKEN PROMISE");
        let _ = writeln!(
            text,
            "  {}: log {}{} {} (record {} of the other log proves it)",
            it.exchange,
            it.lacking,
            if is_promise { ":" } else { " lacks" },
            printable(&it.problem),
            it.proven_by
        );
    }
    let more = outcome.failures - outcome.differences.len() as u64;
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    let _ = writeln!(text);
    for verdict in verdicts {
        let _ = writeln!(text, "{verdict}");
    }
    if verdicts.is_empty() {
        let _ = writeln!(
            text,
            "Compared, not verified: --anchor verifies both logs too."
        );
    }
    let _ = match outcome.failures {
        0 if verify => writeln!(text, "The two logs agree."),
        0 => writeln!(text, "The two logs agree, and do NOT both verify."),
        1 => writeln!(text, "The two logs DO NOT AGREE: 1 difference."),
        many => writeln!(text, "The two logs DO NOT AGREE: {many} differences."),
    };
    text
}
