//! `certs`: keys, requests and certificates for a test federation, and a look into any certificate.

mod arguments;
mod commands;
mod show;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{CommandFactory, Parser};

use crate::arguments::{Arguments, AuthorityCommand, Command, KeyCommand, LogKeyCommand};

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(Answer { text, success }) => {
            // A closed pipe (`certs show FILE | head`) is no failure of ours.
            let _ = io::stdout().write_all(text.as_bytes());
            if success {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "certs: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a command has to say, and whether it is good news.
struct Answer {
    text: String,
    success: bool,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self {
            text,
            success: true,
        }
    }
}

fn run(command: Command) -> Result<Answer, Box<dyn Error>> {
    let now = now()?;
    Ok(match command {
        Command::Authority(AuthorityCommand::New(wanted)) => {
            commands::new_authority(&wanted, now)?.into()
        }
        Command::Key(KeyCommand::New(wanted)) => commands::new_key(&wanted)?.into(),
        Command::Issue(wanted) => commands::issue(&wanted, now)?.into(),
        Command::Show(wanted) => show::show(&wanted, now)?,
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "certs", &mut text);
            String::from_utf8_lossy(&text).into_owned().into()
        }
        Command::LogKey(LogKeyCommand::New { out }) => commands::new_log_key(&out)?.into(),
        Command::LogKey(LogKeyCommand::Show { file }) => commands::show_log_key(&file)?.into(),
    })
}

/// The clock of this program.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where this program asks for the time"
)]
fn now() -> Result<i64, Box<dyn Error>> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|_| "the clock of this machine is before 1970; set it")?;
    Ok(i64::try_from(since.as_secs())?)
}
