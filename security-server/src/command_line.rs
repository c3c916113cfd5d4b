//! The command line: what an operator asks of a server, and of the running one through its socket.

mod answers;
mod apply;
mod call;
mod check_config;
mod explain;
mod ping;
mod show;
mod subject_hash;

use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use proto::administration::{
    AcceptClockRequest, security_server_administration_client::SecurityServerAdministrationClient,
};
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use crate::{Settings, create_log};
use answers::{Outcome, in_json, in_utc};

/// An agency's security server: signs, records and forwards the messages of its systems.
#[derive(Debug, Parser)]
#[command(
    name = "security-server",
    version,
    after_help = "The settings file is described in docs/operations.md. Commands exit with 0 when \
                  done, with 1 when refused or failed, with 2 on wrong use."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create the message log. Done once: a server never starts without its log.
    Init(Plain),
    /// Run the server until SIGINT or SIGTERM. SIGHUP reads the TLS certificates again.
    Run {
        /// The settings file, server.toml.
        settings: PathBuf,
        /// Write log lines as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Try the settings, keys, certificates and log without starting: what `run` would refuse,
    /// and what would not work later.
    CheckConfig(Plain),
    /// Bring subsystems, services, client certificates and access rights to what a file says.
    ///
    /// Prints the difference, and records every change. No restart is needed.
    Apply(apply::Apply),
    /// Print the state in the form that `apply` accepts, and how the server is.
    Show(show::Show),
    /// Say why a call would be allowed or refused, rule by rule.
    ///
    /// Asks the running server's own rules, on each side of the call that it is on. Calls nobody
    /// and records nothing. Exits with 1 if the call would be refused.
    Explain(explain::Explain),
    /// Connect to another security server and ask for its checkpoint.
    Ping(ping::Ping),
    /// Call a service through the bus, as a system of a subsystem hosted here.
    ///
    /// A real exchange, signed and recorded on both sides.
    Call(Box<call::Call>),
    /// Print the hash by which the records of this server name a person: what an auditor searches by
    /// with `auditor list --subject-hash`.
    SubjectHash(subject_hash::SubjectHash),
    /// Accept the clock although it stands behind the newest record. Look at the clock first.
    AcceptClock(Plain),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Settings, and how to print.
#[derive(Debug, Args)]
pub struct Plain {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

type Answer = Result<Outcome, Box<dyn Error>>;

impl Command {
    /// Does what was asked; `run` is the one command that is not done here.
    ///
    /// # Errors
    /// In words, when it was refused or failed.
    pub async fn execute(self) -> Answer {
        match self {
            Self::Init(plain) => init(&plain),
            Self::CheckConfig(plain) => Ok(check_config::check(&plain.settings, plain.json)),
            Self::Apply(apply) => apply.execute().await,
            Self::Show(show) => show.execute().await,
            Self::Explain(explain) => explain.execute().await,
            Self::Ping(ping) => ping.execute().await,
            Self::Call(call) => call.execute().await,
            Self::SubjectHash(subject) => subject.execute(),
            Self::AcceptClock(plain) => accept_clock(&plain).await,
            Self::Completions { shell } => Ok(completions(shell)),
            Self::Run { .. } => Err("run is not a command that answers".into()),
        }
    }
}

fn init(plain: &Plain) -> Answer {
    let settings = Settings::load(&plain.settings)?;
    create_log(&settings)?;
    let (log, origin) = (settings.log.display(), settings.log_origin());
    Ok(Outcome::good(if plain.json {
        in_json(&json!({ "log": log.to_string(), "origin": origin }))
    } else {
        format!("created the message log {log} ({origin})\n")
    }))
}

async fn accept_clock(plain: &Plain) -> Answer {
    let mut administration = connect(&Settings::load(&plain.settings)?).await?;
    let reply = administration.accept_clock(AcceptClockRequest {}).await;
    let clock = reply.map_err(in_words)?.into_inner().clock;
    Ok(Outcome::good(if plain.json {
        in_json(&json!({ "clock": in_utc(clock) }))
    } else {
        let clock = in_utc(clock);
        format!("accepted the clock as it is, {clock}, and recorded it\n")
    }))
}

fn completions(shell: Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(
        shell,
        &mut Arguments::command(),
        "security-server",
        &mut text,
    );
    Outcome::good(String::from_utf8_lossy(&text).into_owned())
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
    let client = SecurityServerAdministrationClient::new(channel);
    // A large agency has more rights than the usual limit of a message.
    Ok(client
        .max_decoding_message_size(crate::admin::MESSAGE_LIMIT)
        .max_encoding_message_size(crate::admin::MESSAGE_LIMIT))
}

/// Connects to the running server of a settings file.
async fn connect_to(
    settings: &Path,
) -> Result<SecurityServerAdministrationClient<Channel>, Box<dyn Error>> {
    connect(&Settings::load(settings)?).await
}

/// The first cause of an error, which says what happened.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What the server said, without the words of the transport around it.
fn in_words(status: tonic::Status) -> Box<dyn Error> {
    format!("the server refuses: {}", status.message()).into()
}
