//! The one place that prints.

use std::io::{self, Write};

use central_registry::officer::{Kind, Plan};
use clap_complete::Shell;
use serde_json::json;

/// Prints a line.
pub fn line(text: &str) {
    // A closed pipe (`central-registry show | head`) is no failure of ours.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints an error.
pub fn error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints the differences and their number.
pub fn plan(plan: &Plan) {
    let mut out = io::stdout().lock();
    for difference in &plan.differences {
        let _ = writeln!(out, "{difference}");
    }
    let _ = writeln!(
        out,
        "{} added, {} changed, {} removed",
        plan.count(Kind::Added),
        plan.count(Kind::Changed),
        plan.count(Kind::Removed)
    );
}

/// Prints the same for machines, with the entries that were recorded.
pub fn plan_as_json(plan: &Plan, entries: &[u64], dry_run: bool) {
    let differences = plan.differences.iter().map(ToString::to_string);
    let printed = json!({
        "differences": differences.collect::<Vec<_>>(),
        "added": plan.count(Kind::Added),
        "changed": plan.count(Kind::Changed),
        "removed": plan.count(Kind::Removed),
        "dry_run": dry_run,
        "entries": entries,
    });
    line(&format!("{printed:#}"));
}

/// Prints the completions of a shell.
pub fn completions(shell: Shell, command: &mut clap::Command) {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "central-registry", &mut text);
    let _ = io::stdout().write_all(&text);
}
