//! `security-server`: parse, do, print, exit.

use std::{
    error::Error,
    io::{Write, stderr, stdout},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use security_server::{
    Machine, Settings,
    command_line::{Arguments, Command},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Box::from)
        .and_then(|runtime| runtime.block_on(execute(arguments.command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let mut text = format!("security-server: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            let _ = writeln!(stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

/// Whether what was found is good news.
async fn execute(command: Command) -> Result<bool, Box<dyn Error>> {
    if let Command::Run { settings, json } = command {
        return run(&settings, json).await.map(|()| true);
    }
    let outcome = command.execute().await?;
    // A reader that went away has read enough.
    let _ = stdout().write_all(outcome.text.as_bytes());
    Ok(outcome.holds)
}

async fn run(path: &Path, json: bool) -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.init();
    }
    let settings = Settings::load(path)?;
    let (stop, stopped) = watch::channel(false);
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        let _ = stop.send(true);
    });
    security_server::start::run(settings, Machine::this(), stopped).await?;
    Ok(())
}
