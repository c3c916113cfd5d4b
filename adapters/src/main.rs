//! The command `adapter`: write the `.proto`, check a configuration, serve it.
#![allow(
    clippy::print_stdout,
    reason = "the one file of this program that prints"
)]

use std::{
    error::Error as _,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use adapters::{
    Adapter, Configuration, Error, check::Report, reloading::Reloader, scaffold::Wanted,
};
use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use trust::SubsystemId;

const EXAMPLE: &str = concat!(
    "A whole configuration, population.toml:\n\n",
    include_str!("example.toml")
);

/// Make a legacy database answer as a gRPC service, by configuration only.
///
/// A TOML file names a database (SQLite, CSV files, PostgreSQL or MariaDB) and, for each method, one SQL text: its parameters are the
/// request fields, its columns the reply fields. Write it, then run `proto`, `check` and `serve`.
#[derive(Debug, Parser)]
#[command(name = "adapter", version, after_long_help = EXAMPLE)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the .proto of a configuration, and give new fields their numbers.
    ///
    /// The numbers are kept in CONFIG.lock beside the configuration: commit it. A change that
    /// would break callers of the published .proto is refused.
    Proto {
        /// The configuration (TOML).
        config: PathBuf,
        /// Where the .proto is written; to standard output if not given.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Where the encoded FileDescriptorSet is written, comments included.
        #[arg(long, value_name = "FILE")]
        descriptor: Option<PathBuf>,
        /// Publish removed fields and methods, changed types and newly required fields.
        #[arg(long)]
        accept_breaking_changes: bool,
    },
    /// Try a configuration on its database and say what does not fit.
    ///
    /// Prepares every statement, compares parameters and columns, says how the database would look
    /// for rows, and decodes a sample of each method that needs no parameters or has a `sample`.
    /// Prints counts and types, never a value.
    Check {
        /// The configuration (TOML).
        config: PathBuf,
    },
    /// Print what hosts the service at its security server: append it to the state file, and apply that.
    ///
    /// The adapter must have a fixed port or a Unix socket.
    Register {
        /// The configuration (TOML).
        config: PathBuf,
        /// The subsystem that offers the service, INSTANCE/CLASS/MEMBER/SUBSYSTEM.
        #[arg(long)]
        subsystem: SubsystemId,
        /// A subsystem that may call it; may be given several times.
        #[arg(long = "client", value_name = "SUBSYSTEM")]
        clients: Vec<SubsystemId>,
    },
    /// Write a first configuration from a table of a database.
    ///
    /// Looks at the catalogue and at some rows, and writes one method that finds one record. Every column is commented out but
    /// the one that is asked by; likely identifiers, padding, lost zeros, dates and text that is no UTF-8 are marked. No value
    /// is written. The encoding of text is never guessed.
    New {
        /// The configuration to be written (TOML); it must not be there yet.
        config: PathBuf,
        /// The table or view, in PostgreSQL maybe with its schema.
        #[arg(long, value_name = "TABLE")]
        from_table: String,
        /// The service, for example vn.population.v1.Population; one made of the table's name if not given.
        #[arg(long, value_name = "NAME")]
        service: Option<String>,
        #[command(flatten)]
        database: DatabaseArguments,
    },
    /// Print the SQL of the one table that methods with an `idempotency_key` need.
    ///
    /// It keeps which calls were carried out and what they were answered, so that a call that is repeated changes nothing
    /// twice. The owner of the database runs it, and grants SELECT, INSERT and UPDATE on the table to the account of the
    /// adapter. Rows may be deleted once nobody repeats their calls any more.
    Ddl {
        /// The configuration (TOML).
        config: PathBuf,
    },
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Answer calls until SIGINT or SIGTERM; calls in progress then have 10 seconds to end.
    ///
    /// SIGHUP has it read its configuration again: if all of it fits, it is served from then on; if not, or if it changes the
    /// published .proto or an address, the one before still is, and the log says why.
    /// Writes a log line for each call to standard error (RUST_LOG sets how much).
    Serve {
        /// The configuration (TOML).
        config: PathBuf,
        /// Once calls are taken, write the address here in one step: http://IP:PORT or unix:PATH.
        #[arg(long, value_name = "FILE")]
        address_file: Option<PathBuf>,
    },
}

/// The database, as `[database]` has it.
#[derive(Debug, clap::Args)]
struct DatabaseArguments {
    /// A file of SQLite.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["postgresql", "mariadb"],
          conflicts_with_all = ["postgresql", "mariadb", "socket", "host", "port", "ca", "user", "password_file"])]
    sqlite: Option<PathBuf>,
    /// A database of a PostgreSQL server.
    #[arg(
        long,
        value_name = "DATABASE",
        requires = "user",
        conflicts_with = "mariadb"
    )]
    postgresql: Option<String>,
    /// A database of a MariaDB server.
    #[arg(long, value_name = "DATABASE", requires = "user")]
    mariadb: Option<String>,
    /// The server's Unix socket; of PostgreSQL the folder of its sockets.
    #[arg(long, value_name = "PATH", conflicts_with = "host")]
    socket: Option<PathBuf>,
    /// The server's host.
    #[arg(long)]
    host: Option<String>,
    /// The server's port.
    #[arg(long)]
    port: Option<u16>,
    /// The certificates (PEM) by which a server on another machine is known.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The account, which should only be able to read.
    #[arg(long)]
    user: Option<String>,
    /// The file with its password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl DatabaseArguments {
    /// The lines of `[database]`; paths are absolute, since the configuration may lie in another folder.
    fn lines(&self) -> String {
        let path = |path: &PathBuf| {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            toml_text(&absolute.to_string_lossy())
        };
        if let Some(file) = &self.sqlite {
            return format!("sqlite = {}", path(file));
        }
        let (engine, database) = match &self.postgresql {
            Some(database) => ("postgresql", Some(database)),
            None => ("mariadb", self.mariadb.as_ref()),
        };
        let keys = [
            self.socket
                .as_ref()
                .map(|socket| format!("socket = {}", path(socket))),
            self.host
                .as_ref()
                .map(|host| format!("host = {}", toml_text(host))),
            self.port.map(|port| format!("port = {port}")),
            self.ca.as_ref().map(|ca| format!("ca = {}", path(ca))),
            database.map(|database| format!("database = {}", toml_text(database))),
            self.user
                .as_ref()
                .map(|user| format!("user = {}", toml_text(user))),
            self.password_file
                .as_ref()
                .map(|file| format!("password_file = {}", path(file))),
        ];
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        format!("{engine} = {{ {} }}", keys.join(", "))
    }
}

/// As a string of TOML.
fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

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
        } => run(serve(&config, address_file.as_deref())),
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
        None => std::io::stdout()
            .write_all(published.schema.text.as_bytes())
            .map_err(|source| Error::Write {
                path: "standard output".into(),
                source,
            })?,
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
    print!("{fragment}");
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
    let engine = configuration.database.source.engine();
    print!("{}", adapters::key_table::definition(engine));
    Ok(ExitCode::SUCCESS)
}

async fn check(config: &Path) -> Result<ExitCode, Error> {
    let configuration = Configuration::read(config)?;
    let Report { methods, misfits } = adapters::check::check(&configuration).await?;
    println!("{}: opened for reading", configuration.database.source);
    for method in methods {
        println!(
            "{}: {} parameters, {} columns",
            method.method, method.parameters, method.columns
        );
        if method.answers_everything {
            println!(
                "  NOTE: whoever may call it may have all rows; a required request field or a filter would narrow it"
            );
        }
        for step in method.plan.iter().flatten() {
            println!("  plan: {step}");
        }
        if method.plan.is_none() {
            println!("  no plan: this database plans for values; give the method a `sample`");
        }
        let Some(sample) = method.sample else {
            println!("  no sample: give the method `sample = {{ ... }}` with required parameters");
            continue;
        };
        println!("  sample of {} rows", sample.rows);
        for (field, counts) in sample.fields {
            let counts: Vec<_> = counts
                .iter()
                .map(|(storage, count)| format!("{count} {storage}"))
                .collect();
            println!("    {field}: {}", counts.join(", "));
        }
        for stray in sample.undecodable {
            println!("  UNDECODABLE {stray}");
        }
    }
    for misfit in &misfits {
        println!("WRONG {misfit}");
    }
    let lock = configuration.lock_path();
    let covered =
        adapters::Lock::read(&lock).and_then(|found| found.require_cover(&lock, &configuration));
    if let Err(error) = &covered {
        println!("WRONG {error}");
    }
    if misfits.is_empty() && covered.is_ok() {
        println!("ready to serve {}", configuration.service);
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

async fn serve(config: &Path, address_file: Option<&Path>) -> Result<ExitCode, Error> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,sqlx=off")),
        )
        .init();
    let configuration = Configuration::read(config)?;
    let service = configuration.service.to_string();
    let failed = |error: std::io::Error| Error::Serve(Box::new(error));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let adapter = Adapter::open(configuration).await?.bind().await?;
    if let Some(path) = address_file {
        adapter.write_address(path)?;
    }
    tracing::info!(%service, address = %adapter.address(), "serving");
    let (reloader, path) = (adapter.reloader(), config.to_owned());
    let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
    let reloading = async move {
        while hang_up.recv().await.is_some() {
            match reload(&reloader, &path).await {
                Ok(()) => tracing::info!("the new configuration is served"),
                Err(error) => {
                    tracing::error!(reason = %in_full(&error), "the new configuration is not served, the one before still is");
                }
            }
        }
    };
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        served = adapter.serve(stop) => served?,
        () = reloading => {}
    }
    Ok(ExitCode::SUCCESS)
}

async fn reload(reloader: &Reloader, path: &Path) -> Result<(), Error> {
    reloader.reload(Configuration::read(path)?).await
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
