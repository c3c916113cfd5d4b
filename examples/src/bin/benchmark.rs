//! `benchmark`: measures our two servers beside those of others, and leaves nothing running.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::{Parser, Subcommand};
use examples::{
    Error,
    benchmark::{
        backend,
        chain::{Chain, Chains},
        disk::Disk,
        filling::Starts,
        machine::Machine,
        plot,
        results::{Results, Threads},
        rounds::{Cell, Rounds},
        table,
    },
    process::stopped,
};

/// Measures two security servers beside two hops of nginx, HAProxy and Envoy with mutual TLS.
///
/// Every chain has the same client, which calls in a closed loop, and the same backend, which gives
/// every message back; each answer is compared with what was sent. Calls that fail are counted, and
/// make the exit status 1. The proxies carry; our servers sign, verify, log durably and prove, as they always do.
///
/// Our servers are measured twice: with each message signed alone, and as they come, with those that wait for
/// the log signed together.
///
/// The chains take turns, round by round. Each figure is the median of its rounds. CPU time is that
/// of Linux' accounting in steps of 10 ms, so rounds of less than a second say little.
///
/// nginx, haproxy and envoy are looked for in PATH; the script ./benchmark provides them.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Chains, in the order of the table.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "direct,nginx,haproxy,envoy,lienthong-alone,lienthong"
    )]
    chains: Vec<Chain>,
    /// Lengths of the message in bytes.
    #[arg(long, value_delimiter = ',', default_value = "200,4096,65536,1048576")]
    payloads: Vec<usize>,
    /// Calls at once; on up to eight connections.
    #[arg(long, value_delimiter = ',', default_value = "1,64")]
    concurrency: Vec<usize>,
    /// Seconds that calls count in each round.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Seconds of calls before that.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Rounds of each chain under each load.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Members in the global configuration beside those that call and answer, with a subsystem and
    /// a service each.
    #[arg(long, default_value_t = 0)]
    members: usize,
    /// Records that the log of each of our servers holds before; a kibibyte each, about. How long a
    /// server then takes to start is part of the results.
    #[arg(long, default_value_t = 0)]
    filled: u64,
    /// Where keys and logs go while it runs, in a folder that is removed at the end. On a real disk
    /// with tens of GiB to spare: each server keeps every message.
    #[arg(long, default_value = "target")]
    work: PathBuf,
    /// Where results.md, results.svg and results.json go.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Print results.json and write no files.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Part {
    /// The backend, for the benchmark itself: serves until its standard input ends.
    #[command(hide = true)]
    Backend,
}

// One thread, since the client runs in this process and is to be measured like the proxies.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.part {
        Some(Part::Backend) => backend::serve().await,
        None => tokio::select! {
            done = run(&arguments) => done,
            () = stopped() => Err("stopped before the end".into()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Error> {
    fs::create_dir_all(&arguments.work)?;
    // Dropped, and so removed, after everything that runs in it.
    let work = tempfile::Builder::new()
        .prefix("benchmark-")
        .tempdir_in(&arguments.work)?;
    let disk = Disk::of(work.path())?;
    let mut machine = Machine::look(&disk, &arguments.chains).await?;
    refuse_memory(&machine.file_system)?;
    let plan = Rounds {
        chains: arguments.chains.clone(),
        payloads: arguments.payloads.clone(),
        concurrency: arguments.concurrency.clone(),
        seconds: arguments.seconds,
        warm_up_seconds: arguments.warm_up,
        rounds: arguments.rounds,
    };
    let mut chains = Chains::start(work.path(), &plan.chains).await?;
    if arguments.members > 0 {
        let begun = Instant::now();
        chains.register(arguments.members).await?;
        let seconds = begun.elapsed().as_secs();
        eprintln!("{} members registered in {seconds} s", arguments.members);
    }
    let starts = match arguments.filled {
        0 => Vec::new(),
        records => fill(&mut chains, records).await?,
    };
    let measured = plan.run(&chains, &disk, |line| eprintln!("{line}")).await?;
    machine.finish(&measured.appends)?;
    chains.stop().await?;
    let threads = Threads::new(machine.cores);
    let results = Results {
        machine,
        plan,
        threads,
        starts,
        cells: measured.cells,
    };
    let json = serde_json::to_string_pretty(&results)? + "\n";
    if arguments.json {
        print(&json);
    } else {
        write(&arguments.out, &results, &json)?;
    }
    match results.cells.iter().all(Cell::is_faultless) {
        true => Ok(()),
        false => Err("not every call was answered well; the results say which".into()),
    }
}

async fn fill(chains: &mut Chains, records: u64) -> Result<Vec<Starts>, Error> {
    let mut told = 0;
    let progress = |server: &str, size: u64| {
        let tenth = size * 10 / records;
        if tenth != told {
            told = tenth;
            eprintln!("filling the log of the {server}: {} %", tenth * 10);
        }
    };
    let starts = chains.fill(records, progress).await?;
    for start in &starts {
        eprintln!(
            "with {records} records a server starts in {:.2} s; without its views in {:.2} s",
            start.after_kill_seconds, start.without_views_seconds
        );
    }
    Ok(starts)
}

fn write(out: &Path, results: &Results, json: &str) -> Result<(), Error> {
    fs::create_dir_all(out)?;
    fs::write(out.join("results.json"), json)?;
    fs::write(out.join("results.md"), table::page(results))?;
    fs::write(out.join("results.svg"), plot::picture(results))?;
    eprintln!("The results are in {}/results.md", out.display());
    Ok(())
}

#[allow(
    clippy::print_stdout,
    reason = "this is the file of the program that prints"
)]
fn print(text: &str) {
    print!("{text}");
}

/// A log in memory would be durable at no cost.
fn refuse_memory(file_system: &str) -> Result<(), Error> {
    if ["tmpfs", "ramfs"].contains(&file_system) {
        return Err(format!("--work is on {file_system}, which is no disk").into());
    }
    Ok(())
}
