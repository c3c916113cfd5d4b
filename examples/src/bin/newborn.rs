//! The command `newborn`: parse, run, print, exit.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use clap::Parser;
use examples::{newborn::command_line::Arguments, process::stopped};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = arguments.run() => outcome,
        () = stopped() => Ok(String::new()),
    };
    match outcome {
        Ok(text) => {
            // A reader that went away has read enough.
            let _ = stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("newborn: {error}");
            ExitCode::FAILURE
        }
    }
}
