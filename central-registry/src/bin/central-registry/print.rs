//! The one place that prints.

use std::io::{self, Write};

use central_registry::officer::{Kind, Plan};

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
