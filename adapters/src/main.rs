//! The command `adapter`: write the `.proto`, check a configuration, serve it.
#![allow(
    clippy::print_stdout,
    reason = "the one file of this program that prints"
)]

mod arguments;

use std::{error::Error as _, fmt::Write as _, io::Write, path::Path, pin::pin, process::ExitCode};

use adapters::{
    Adapter, Configuration, Error, check::Report, reloading::Reloader, scaffold::Wanted,
};
use arguments::{Arguments, Command, DatabaseArguments};
use clap::{CommandFactory, Parser};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use trust::SubsystemId;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Proto {
            config,
            out,
            descriptor,
            accept_breaking_changes,
        } => proto(
            &config,
            out.as_deref(),
            descriptor.as_deref(),
            accept_breaking_changes,
        ),
        Command::Check { config } => run(check(&config)),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "adapter", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::New {
            config,
            from_table,
            service,
            database,
        } => run(new(&config, from_table, service, &database)),
        Command::Ddl { config } => ddl(&config),
        Command::Register {
            config,
            subsystem,
            clients,
        } => register(&config, &subsystem, &clients),
        Command::Serve {
            config,
            address_file,
        } => run(serve(&config, None, address_file.as_deref())),
        Command::Mock {
            config,
            fixtures,
            address_file,
        } => run(serve(&config, Some(&fixtures), address_file.as_deref())),
    };
    result.unwrap_or_else(|error| {
        eprintln!("adapter: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            eprintln!("  because: {cause}");
            source = cause.source();
        }
        ExitCode::FAILURE
    })
}

fn run(command: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Serve(Box::new(error)))?;
    runtime.block_on(command)
}

fn proto(
    config: &Path,
    out: Option<&Path>,
    descriptor: Option<&Path>,
    accept_breaking: bool,
) -> Result<ExitCode, Error> {
    let configuration = Configuration::read(config)?;
    let published = adapters::publish(&configuration, accept_breaking)?;
    for change in &published.changes {
        eprintln!("{change}");
    }
    let write = |path: &Path, content: &[u8]| {
        std::fs::write(path, content).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    };
    match out {
        Some(path) => write(path, published.schema.text.as_bytes())?,
        None => print(&published.schema.text)?,
    }
    if let Some(path) = descriptor {
        write(path, &published.schema.descriptors)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn register(
    config: &Path,
    subsystem: &SubsystemId,
    clients: &[SubsystemId],
) -> Result<ExitCode, Error> {
    let configuration = Configuration::read(config)?;
    let fragment = adapters::registration::fragment(&configuration, subsystem, clients)?;
    print(&fragment)?;
    Ok(ExitCode::SUCCESS)
}

async fn new(
    config: &Path,
    table: String,
    service: Option<String>,
    database: &DatabaseArguments,
) -> Result<ExitCode, Error> {
    let wanted = Wanted {
        table,
        database: database.lines(),
        service,
    };
    let text = adapters::scaffold::first_configuration(config, &wanted).await?;
    let failed = |source| Error::Write {
        path: config.to_owned(),
        source,
    };
    let mut file = std::fs::File::create_new(config).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    println!(
        "{0} is written; now complete it, then run `adapter proto {0}` and `adapter check {0}`",
        config.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn ddl(config: &Path) -> Result<ExitCode, Error> {
    let configuration = Configuration::read(config)?;
    let definitions = configuration.definitions();
    if definitions.is_empty() {
        eprintln!(
            "adapter: no method of {} needs a table of its own",
            config.display()
        );
    }
    print(&definitions.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// To standard output; whoever reads no further, like `head`, need not.
fn print(text: &str) -> Result<(), Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Write {
            path: "standard output".into(),
            source: error,
        }),
        _ => Ok(()),
    }
}

async fn check(config: &Path) -> Result<ExitCode, Error> {
    let configuration = Configuration::read(config)?;
    let mut said = String::new();
    let Report { methods, misfits } = adapters::check::check(&configuration).await?;
    let source = &configuration.database.source;
    let and_writing = if configuration.writes() {
        " and writing"
    } else {
        ""
    };
    let _ = writeln!(said, "{source}: opened for reading{and_writing}");
    for method in methods {
        let _ = writeln!(
            said,
            "{}: {} parameters, {} columns",
            method.method, method.parameters, method.columns
        );
        if method.answers_everything {
            let _ = writeln!(
                said,
                "  NOTE: whoever may call it may have all rows; a required request field or a filter would narrow it"
            );
        }
        for step in method.plan.iter().flatten() {
            let _ = writeln!(said, "  plan: {step}");
        }
        if method.plan.is_none() {
            let _ = writeln!(
                said,
                "  no plan: this database plans for values; give the method a `sample`"
            );
        }
        let Some(sample) = method.sample else {
            let _ = writeln!(
                said,
                "  no sample: give the method `sample = {{ ... }}` with required parameters"
            );
            continue;
        };
        let _ = writeln!(said, "  sample of {} rows", sample.rows);
        for (field, counts) in sample.fields {
            let counts: Vec<_> = counts
                .iter()
                .map(|(storage, count)| format!("{count} {storage}"))
                .collect();
            let _ = writeln!(said, "    {field}: {}", counts.join(", "));
        }
        for stray in sample.undecodable {
            let _ = writeln!(said, "  UNDECODABLE {stray}");
        }
    }
    for misfit in &misfits {
        let _ = writeln!(said, "WRONG {misfit}");
    }
    let lock = configuration.lock_path();
    let covered =
        adapters::Lock::read(&lock).and_then(|found| found.require_cover(&lock, &configuration));
    if let Err(error) = &covered {
        let _ = writeln!(said, "WRONG {error}");
    }
    let is_ready = misfits.is_empty() && covered.is_ok();
    if is_ready {
        let _ = writeln!(said, "ready to serve {}", configuration.service);
    }
    print(&said)?;
    Ok(match is_ready {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

async fn serve(
    config: &Path,
    fixtures: Option<&Path>,
    address_file: Option<&Path>,
) -> Result<ExitCode, Error> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=off")),
        )
        .init();
    let configuration = read(config, fixtures)?;
    let service = configuration.service.to_string();
    let failed = |error: std::io::Error| Error::Serve(Box::new(error));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // Before it is served: one that comes meanwhile is for afterwards, and does not end the program.
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let mut stop = pin!(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    // Opening may take long: a large folder of CSV files is loaded first.
    let adapter = tokio::select! {
        opened = async { Adapter::open(configuration).await?.bind().await } => opened?,
        () = &mut stop => return Ok(ExitCode::SUCCESS),
    };
    if let Some(path) = address_file {
        adapter.write_address(path)?;
    }
    tracing::info!(%service, address = %adapter.address(), "serving");
    let reloader = adapter.reloader();
    let (path, fixtures) = (config.to_owned(), fixtures.map(Path::to_owned));
    let reloading = async move {
        while hang_up.recv().await.is_some() {
            match reload(&reloader, &path, fixtures.as_deref()).await {
                Ok(()) => tracing::info!("the new configuration is served"),
                Err(error) => {
                    tracing::error!(reason = %in_full(&error), "the new configuration is not served, the one before still is");
                }
            }
        }
    };
    tokio::select! {
        served = adapter.serve(stop) => served?,
        () = reloading => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn reload(reloader: &Reloader, path: &Path, fixtures: Option<&Path>) -> Result<(), Error> {
    reloader.reload(read(path, fixtures)?).await
}

/// The configuration, over its database or over fixtures.
fn read(config: &Path, fixtures: Option<&Path>) -> Result<Configuration, Error> {
    let configuration = Configuration::read(config)?;
    match fixtures {
        None => Ok(configuration),
        Some(fixtures) => Ok(adapters::mock::over_fixtures(configuration, fixtures)?),
    }
}

/// An error with its causes, in one line.
fn in_full(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text.replace('\n', " ")
}
