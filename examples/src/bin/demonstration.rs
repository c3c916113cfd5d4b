//! `demonstration`: sets the stage, performs, and leaves nothing running.
#![allow(
    clippy::print_stdout,
    reason = "this is the file of the program that prints"
)]

use std::{
    fs::{self, File},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use examples::{
    Error,
    demonstration::{Account, Stage},
    newborn::births::Order,
    process::stopped,
};

/// A child is born: runs a central registry, five agencies with their security servers and registers, and a
/// one-stop desk on this machine, lets them do real work, and has the auditor check every log.
#[derive(Parser)]
struct Arguments {
    /// Where keys, logs, anchor and endpoints go; must not exist, or be from an earlier run.
    #[arg(long, default_value = "demo-out")]
    out: PathBuf,
    /// How many births are declared at the end while everybody is killed now and then; 0: none.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    births: usize,
    /// How often somebody is killed meanwhile.
    #[arg(long, value_name = "K", default_value_t = 40)]
    kills: usize,
    /// Who is killed when, and which children are born.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Stay until Ctrl-C, so that you can make calls of your own.
    #[arg(long)]
    keep: bool,
}

/// Names a directory as ours, so that nobody else's is ever emptied.
const MARK: &str = ".lienthong-demonstration";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demonstration: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does something unless it is stopped before the end; every process then ends with us.
async fn unless_stopped<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        () = stopped() => Err("stopped before the end".into()),
    }
}

async fn run(arguments: &Arguments) -> Result<bool, Error> {
    let begun = Instant::now();
    let _lock = prepare(arguments)?;
    let mut account = Account::default();
    account.chapter("A registry, five security servers and four registers start on this machine");
    let mut stage = unless_stopped(Stage::set(&arguments.out)).await?;
    for server in stage.agencies.federation.servers() {
        let endpoint = server.endpoint();
        account.tell(&format!(
            "{} listens for other agencies at {}",
            endpoint.id, endpoint.exchange
        ));
    }
    let order = Order {
        births: arguments.births,
        kills: arguments.kills,
        seed: arguments.seed,
        patience: Duration::from_secs(120),
    };
    unless_stopped(stage.perform(order, &mut account)).await?;
    let seconds = begun.elapsed().as_secs_f32();
    if arguments.keep {
        account.chapter("Everything keeps running until Ctrl-C. A call of your own, with grpcio:");
        let python = std::env::var("LIENTHONG_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        println!("  {python} -c \"{}\"", stage.line_of_python()?);
        println!(
            "  Where everything listens is in {}/endpoints.json; docs/operations.md has a third agency \
             join in.",
            arguments.out.display()
        );
        stopped().await;
    }
    stage.clear().await?;
    let failed = account.failed();
    if failed == 0 {
        println!(
            "\nEvery line holds. {seconds:.1} s; all of it is in {}.",
            arguments.out.display()
        );
    } else {
        println!(
            "\n{failed} lines do not hold; what the programs said is in {}/logs.",
            arguments.out.display()
        );
    }
    Ok(failed == 0)
}

/// Makes the directory, emptying one of an earlier run and no other; it is ours while the lock is.
fn prepare(arguments: &Arguments) -> Result<File, Error> {
    let out = &arguments.out;
    let mark = out.join(MARK);
    if out.exists() {
        let empty = fs::read_dir(out)?.next().is_none();
        if !empty && !mark.exists() {
            return Err(format!("{} exists and is not from an earlier run", out.display()).into());
        }
    }
    fs::create_dir_all(out)?;
    let lock = File::create(&mark)?;
    lock.try_lock()
        .map_err(|_| format!("another demonstration runs in {}", out.display()))?;
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path != mark {
            fs::remove_file(&path)?;
        }
    }
    Ok(lock)
}
