//! `security-server`: init, run, and the operator's commands through the admin socket.
#![allow(
    clippy::print_stdout,
    reason = "this is the file of the program that prints"
)]

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use proto::administration::{
    AcceptClockRequest, ApplyRequest, ShowReply, ShowRequest,
    security_server_administration_client::SecurityServerAdministrationClient,
};
use security_server::{
    Settings, SystemClock,
    state_file::{Difference, StateFile},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tonic::transport::{Channel, Endpoint};

/// An agency's security server: signs, records and forwards the messages of its systems.
#[derive(Parser)]
#[command(
    version,
    after_help = "The settings file is described in docs/operations.md."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Creates the message log. Done once: a server never starts without its log.
    Init {
        /// The settings file, server.toml.
        settings: PathBuf,
    },
    /// Runs the server until SIGINT or SIGTERM. SIGHUP reads the TLS certificates again.
    Run {
        /// The settings file, server.toml.
        settings: PathBuf,
    },
    /// Brings subsystems, services, client certificates and access rights to what a file says,
    /// prints the difference, and records every change. No restart is needed.
    Apply {
        /// The settings file, server.toml.
        settings: PathBuf,
        /// The state file; what it does not mention is removed.
        #[arg(short, long)]
        file: PathBuf,
        /// Only print the difference, if the server would accept it.
        #[arg(long)]
        dry_run: bool,
        /// Print the difference as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the state in the form that `apply` accepts.
    Show {
        /// The settings file, server.toml.
        settings: PathBuf,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Accepts the clock although it stands behind the newest record. Look at the clock first.
    AcceptClock {
        /// The settings file, server.toml.
        settings: PathBuf,
    },
}

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Box::from)
        .and_then(|runtime| runtime.block_on(execute(arguments.command)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("security-server: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn execute(command: Command) -> Outcome {
    match command {
        Command::Init { settings } => init(&settings),
        Command::Run { settings } => run(&settings).await,
        Command::Apply {
            settings,
            file,
            dry_run,
            json,
        } => apply(&settings, &file, dry_run, json).await,
        Command::Show { settings, json } => show(&settings, json).await,
        Command::AcceptClock { settings } => accept_clock(&settings).await,
    }
}

fn init(path: &Path) -> Outcome {
    let settings = Settings::load(path)?;
    security_server::create_log(&settings)?;
    println!(
        "created the message log {} ({})",
        settings.log.display(),
        settings.log_origin()
    );
    Ok(())
}

async fn run(path: &Path) -> Outcome {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
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
    security_server::start::run(settings, Arc::new(SystemClock), stopped).await?;
    Ok(())
}

/// Connects to the admin socket of the running server.
async fn connect(
    settings: &Settings,
) -> Result<SecurityServerAdministrationClient<Channel>, Box<dyn Error>> {
    let socket = std::path::absolute(&settings.admin_socket)?;
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
    let channel = endpoint.connect().await.map_err(|error| {
        let cause = innermost(&error);
        format!(
            "{} does not answer ({cause}); is the server running?",
            socket.display()
        )
    })?;
    Ok(SecurityServerAdministrationClient::new(channel))
}

/// The first cause of an error, which says what happened.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

async fn shown(settings: &Settings) -> Result<ShowReply, Box<dyn Error>> {
    let reply = connect(settings)
        .await?
        .show(ShowRequest {})
        .await
        .map_err(in_words)?;
    Ok(reply.into_inner())
}

async fn apply(path: &Path, file: &Path, dry_run: bool, json: bool) -> Outcome {
    let settings = Settings::load(path)?;
    let base = file.parent().unwrap_or_else(|| Path::new("."));
    let wanted = StateFile::load(file)?.changes(base)?;
    let difference = Difference::between(&shown(&settings).await?.state, wanted);
    let (summary, told) = (difference.summary(), difference.to_string());
    if !difference.is_empty() {
        let request = ApplyRequest {
            changes: difference.into_changes(),
            dry_run,
        };
        connect(&settings)
            .await?
            .apply(request)
            .await
            .map_err(in_words)?;
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{told}");
    }
    Ok(())
}

async fn show(path: &Path, json: bool) -> Outcome {
    let settings = Settings::load(path)?;
    let reply = shown(&settings).await?;
    let file = StateFile::of(&reply.state);
    if json {
        let serial = reply.configuration_serial;
        let shown = serde_json::json!({
            "server": reply.server,
            "configuration_serial": serial,
            "configuration_expires_at": reply.configuration_expires_at,
            "state": file,
        });
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    println!("# {}", reply.server);
    match reply.configuration_serial {
        0 => println!("# no global configuration yet"),
        serial => {
            let expires = jiff::Timestamp::from_second(reply.configuration_expires_at)?;
            println!("# global configuration {serial}, in force until {expires}");
        }
    }
    print!("{}", toml::to_string(&file)?);
    Ok(())
}

async fn accept_clock(path: &Path) -> Outcome {
    let settings = Settings::load(path)?;
    let reply = connect(&settings)
        .await?
        .accept_clock(AcceptClockRequest {})
        .await;
    let clock = jiff::Timestamp::from_second(reply.map_err(in_words)?.into_inner().clock)?;
    println!("accepted the clock as it is, {clock}, and recorded it");
    Ok(())
}

/// What the server said, without the words of the transport around it.
fn in_words(status: tonic::Status) -> Box<dyn Error> {
    format!("the server refuses: {}", status.message()).into()
}
