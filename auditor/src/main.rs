//! The command `auditor`: parse, run, print, exit.

use std::{
    io::{IsTerminal, Write, stderr, stdout},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use auditor::command_line::{Arguments, explain};
use clap::Parser;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let shows_progress = stderr().is_terminal();
    let mut shown = false;
    let outcome = arguments.run(now(), &mut |records| {
        if shows_progress {
            shown = true;
            eprint!("\r{records} records checked");
        }
    });
    if shown {
        eprintln!();
    }
    match outcome {
        Ok(outcome) => {
            // A reader that went away has read enough.
            let _ = stdout().write_all(outcome.text.as_bytes());
            for error in &outcome.unread {
                eprintln!("auditor: {}", explain(error));
            }
            match (outcome.holds, outcome.unread.is_empty()) {
                (false, _) => ExitCode::FAILURE,
                (true, false) => ExitCode::from(2),
                (true, true) => ExitCode::SUCCESS,
            }
        }
        Err(error) => {
            eprintln!("auditor: {}", explain(&error));
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the clock of this program")]
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
