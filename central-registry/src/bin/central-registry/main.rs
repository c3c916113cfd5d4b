//! `central-registry`: makes, runs and changes the central registry of an instance.

mod arguments;
mod change;
mod print;
mod root;

use std::{error::Error as _, path::Path, process::ExitCode};

use central_registry::{
    Error, Settings,
    clock::Clock,
    initialise::NewRegistry,
    officer::{OfficerKey, Plan, Prune, Session, Wanted, file_of},
    serve,
};
use clap::{CommandFactory, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{Apply, Arguments, Command, Decision, Init, Serve, Show},
    change::SingleChange,
    print::line,
};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_target(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    match run(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = format!("central-registry: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                text = format!("{text}\n  because {cause}");
                source = cause.source();
            }
            print::error(&text);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Init(wanted) => initialise(wanted).await,
        Command::Serve(wanted) => run_server(wanted).await,
        Command::Apply(wanted) => apply(wanted).await,
        Command::Show(wanted) => show(wanted).await,
        Command::Completions { shell } => {
            print::completions(shell, &mut Arguments::command());
            Ok(())
        }
        Command::Root(command) => root::run(command, &Clock::of_the_machine()),
        Command::Member(command) => change(SingleChange::from(command)).await,
        Command::Subsystem(command) => change(SingleChange::from(command)).await,
        Command::Server(command) => change(SingleChange::from(command)).await,
        Command::Registration(command) => change(SingleChange::from(command)).await,
        Command::Certificate(command) => change(SingleChange::try_from(command)?).await,
        Command::LogKey(command) => change(SingleChange::try_from(command)?).await,
        Command::Service(command) => change(SingleChange::try_from(command)?).await,
        Command::Authority(command) => change(SingleChange::try_from(command)?).await,
        Command::Officer(command) => change(SingleChange::try_from(command)?).await,
    }
}

async fn initialise(wanted: Init) -> Result<(), Error> {
    let (instance, out) = (wanted.instance.clone(), wanted.out.clone());
    let root_keys = wanted.root_keys;
    let officer = wanted.officer.clone();
    let new = NewRegistry {
        instance: wanted.instance,
        out: wanted.out,
        sources: wanted.sources,
        threshold: root_keys.threshold,
        root_keys: root_keys.number,
        valid_days: wanted.valid_days,
        officer: wanted.officer,
        listen: wanted.listen,
    };
    new.make(Clock::of_the_machine()).await?;
    let out = out.display();
    line(&format!(
        "The registry of {instance} is in {out}.\n\
         - {out}/root-keys: take these offline now, {} of {} of them sign the next root document\n\
         - {out}/officers/{officer}.pem: hand this to the first officer\n\
         - {out}/head-key.pem: stays with the registry\n\
         - {out}/anchor.json: give this to every security server and auditor\n\
         Next: central-registry serve --directory {out}",
        root_keys.threshold, root_keys.number
    ));
    Ok(())
}

async fn run_server(wanted: Serve) -> Result<(), Error> {
    let options = serve::Options {
        listen: wanted.listen,
        address_file: wanted.address_file,
    };
    let listening = |source| {
        Error::Unusable(format!(
            "the signals of the system cannot be heard: {source}"
        ))
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(listening)?;
    let end = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    serve::serve(
        &wanted.directory.directory,
        options,
        Clock::of_the_machine(),
        end,
    )
    .await
}

async fn apply(wanted: Apply) -> Result<(), Error> {
    let session = open(&wanted.decision.directory.directory).await?;
    let prune = if wanted.prune { Prune::Yes } else { Prune::No };
    let file = Wanted::load(&wanted.file, session.state().instance())?;
    let plan = Plan::of_wanted(session.state(), file, prune);
    decide(session, plan, wanted.decision).await
}

async fn change(wanted: SingleChange) -> Result<(), Error> {
    let session = open(&wanted.decision.directory.directory).await?;
    wanted.must_be_of(session.state().instance())?;
    let changes = [(wanted.key, wanted.value)];
    let plan = Plan::of_changes(session.state(), changes, wanted.blobs);
    decide(session, plan, wanted.decision).await
}

/// Checks a plan, prints it, and gives it in unless this is a dry run.
async fn decide(session: Session, plan: Plan, decision: Decision) -> Result<(), Error> {
    if decision.json {
        return decide_in_json(session, plan, decision).await;
    }
    if plan.differences.is_empty() {
        line("Nothing to do: the registry says so already.");
        return Ok(());
    }
    plan.check(session.state())?;
    print::plan(&plan);
    let Some(key) = decision.officer.filter(|_| !decision.dry_run) else {
        line("Dry run: nothing was changed.");
        return Ok(());
    };
    let officer = OfficerKey::load(&key, session.state())?;
    let indices = session.submit(&plan, &officer, &decision.reason).await?;
    line(&match indices.as_slice() {
        [index] => format!("Recorded as entry {index}; in force with the next publication."),
        [first, .., last] => format!(
            "Recorded as {} entries, {first} to {last}; in force with the next publication.",
            indices.len()
        ),
        [] => "Nothing was recorded.".to_owned(),
    });
    Ok(())
}

/// The same for machines: printed once it is done, or tried.
async fn decide_in_json(session: Session, plan: Plan, decision: Decision) -> Result<(), Error> {
    plan.check(session.state())?;
    let mut indices = Vec::new();
    if let Some(key) = decision.officer.filter(|_| !decision.dry_run)
        && !plan.differences.is_empty()
    {
        let officer = OfficerKey::load(&key, session.state())?;
        indices = session.submit(&plan, &officer, &decision.reason).await?;
    }
    print::plan_as_json(&plan, &indices, decision.dry_run);
    Ok(())
}

async fn show(wanted: Show) -> Result<(), Error> {
    let session = open(&wanted.directory.directory).await?;
    let file = file_of(session.state())?;
    let written = if wanted.json {
        serde_json::to_string_pretty(&file).map_err(|error| error.to_string())
    } else {
        toml::to_string_pretty(&file).map_err(|error| error.to_string())
    };
    line(written.map_err(Error::Unusable)?.trim_end());
    Ok(())
}

async fn open(directory: &Path) -> Result<Session, Error> {
    Session::open(&Settings::load(directory)?.admin_socket).await
}
