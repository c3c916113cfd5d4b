//! The command line of the desk: declare, work, and answer what an official asks.

use std::{
    fmt::Write,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, Parser, Subcommand};
use serde_json::json;

use super::{
    declaration::Declaration,
    desk::{Desk, now},
    settings::Settings,
    step::Agency,
    store::{Dossier, State, Store},
};
use crate::Error;

/// A one-stop desk for births: one declaration, and the agencies do the rest.
#[derive(Debug, Parser)]
#[command(name = "newborn", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Work on the dossiers until Ctrl-C: try every step that is due, as often as it takes.
    Serve(Plain),
    /// Take a declaration (JSON). It is kept when this ends well; the same one again changes nothing.
    Declare {
        /// The settings, desk.toml.
        settings: PathBuf,
        /// The declaration; -: standard input.
        file: PathBuf,
    },
    /// Correct a declaration (JSON, whole): what is not done yet is asked anew, what was refused is tried again.
    ///
    /// Once the birth may be registered only officer, address and native place can be corrected here, and only while no
    /// register is being asked for them.
    Correct {
        /// The settings, desk.toml.
        settings: PathBuf,
        /// The declaration; -: standard input.
        file: PathBuf,
    },
    /// List the dossiers that are not complete: what waits on whom, and what came back.
    List {
        #[command(flatten)]
        plain: Plain,
        /// Only those that wait on this agency.
        #[arg(long, value_parser = parse_agency, value_name = "AGENCY")]
        waits_on: Option<Agency>,
        /// Only those of which a step was refused.
        #[arg(long, conflicts_with = "waits_on")]
        refused: bool,
    },
    /// Show what happened to a case or a dossier, step by step, with the exchange of each.
    Show {
        #[command(flatten)]
        plain: Plain,
        /// The case number, or the dossier.
        case: String,
    },
    /// Try again what was refused, and what waits at once.
    Retry {
        #[command(flatten)]
        plain: Plain,
        /// The dossier.
        dossier: String,
    },
}

#[derive(Debug, Args)]
struct Plain {
    /// The settings, desk.toml.
    settings: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_agency(text: &str) -> Result<Agency, String> {
    let named = Agency::ALL.into_iter().find(|agency| agency.name() == text);
    named.ok_or_else(|| "population, civil_status or insurance".to_owned())
}

impl Arguments {
    /// Does what was asked; gives what is to be printed.
    ///
    /// # Errors
    /// In words, when it cannot be done.
    pub async fn run(self) -> Result<String, Error> {
        match self.command {
            Command::Serve(plain) => {
                let desk = Desk::open(Settings::read(&plain.settings)?).await?;
                Arc::new(desk).work().await?;
                Ok(String::new())
            }
            Command::Declare { settings, file } => {
                let store = open(&settings).await?;
                let declaration = read(&file)?;
                let dossiers = store.declare(&declaration, now()).await?;
                Ok(dossiers.join("\n") + "\n")
            }
            Command::Correct { settings, file } => {
                let store = open(&settings).await?;
                let tried = store.correct(&read(&file)?, now()).await?;
                Ok(format!("Corrected; {tried} steps are tried again.\n"))
            }
            Command::List {
                plain,
                waits_on,
                refused,
            } => {
                let store = open(&plain.settings).await?;
                let dossiers = store.open_dossiers(waits_on, refused).await?;
                let count = store.count().await?;
                if plain.json {
                    return Ok(format!(
                        "{:#}\n",
                        json!({ "dossiers": dossiers, "count": count })
                    ));
                }
                let mut text = String::new();
                for dossier in &dossiers {
                    text.push_str(&line(dossier));
                }
                let _ = writeln!(
                    text,
                    "{} listed; {} dossiers in all, {} complete, {} refused.",
                    dossiers.len(),
                    count.dossiers,
                    count.complete,
                    count.refused
                );
                Ok(text)
            }
            Command::Show { plain, case } => {
                let dossiers = open(&plain.settings).await?.of_case(&case).await?;
                if dossiers.is_empty() {
                    return Err(format!("there is no case or dossier {case}").into());
                }
                if plain.json {
                    return Ok(format!("{:#}\n", json!({ "dossiers": dossiers })));
                }
                Ok(dossiers.iter().map(block).collect::<Vec<_>>().join("\n"))
            }
            Command::Retry { plain, dossier } => {
                let tried = open(&plain.settings).await?.retry(&dossier, now()).await?;
                match tried {
                    0 => Err(format!("nothing of {dossier} waits or was refused").into()),
                    tried if plain.json => Ok(format!("{:#}\n", json!({ "steps": tried }))),
                    tried => Ok(format!("{tried} steps are tried again.\n")),
                }
            }
        }
    }
}

/// Reads a declaration from a file, or from standard input.
fn read(file: &Path) -> Result<Declaration, Error> {
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        text
    } else {
        fs::read_to_string(file)?
    };
    serde_json::from_str(&text)
        .map_err(|error| format!("the declaration is not understood: {error}").into())
}

async fn open(settings: &Path) -> Result<Store, Error> {
    Store::open(&Settings::read(settings)?.store).await
}

/// A dossier in a line, and one more for each step that holds it up.
fn line(dossier: &Dossier) -> String {
    let done = dossier
        .steps
        .iter()
        .filter(|step| step.state == State::Done)
        .count();
    let mut text = format!(
        "{}  {}: {done} of {} steps done\n",
        dossier.id,
        dossier.child.full_name(),
        dossier.steps.len()
    );
    let holding = dossier
        .steps
        .iter()
        .filter(|step| !matches!(step.state, State::Done | State::Blocked));
    for step in holding {
        let _ = writeln!(text, "    {}", in_words(step));
    }
    text
}

fn block(dossier: &Dossier) -> String {
    let (declaration, child) = (&dossier.declaration, &dossier.child);
    let mut text = format!(
        "{}  {}, {}, born on {}, declared on {} to {}\n",
        dossier.id,
        child.full_name(),
        child.sex,
        child.born_on,
        declaration.declared_on,
        declaration.officer
    );
    for step in &dossier.steps {
        let _ = writeln!(text, "    {}", in_words(step));
        if let Some(brought) = &step.brought {
            let _ = writeln!(text, "        brought {brought}");
        }
    }
    text
}

fn in_words(step: &super::store::StepState) -> String {
    let name = step.step.name();
    let agency = step.agency.name();
    let exchange = match step.exchange.as_str() {
        "" => String::new(),
        exchange => format!(", exchange {exchange}"),
    };
    match step.state {
        State::Blocked => format!("{name}: not begun"),
        State::Done => format!("{name}: done by {agency}{exchange}"),
        State::Waiting if step.attempts == 0 => format!("{name}: waits on {agency}, not tried yet"),
        State::Waiting => format!(
            "{name}: waits on {agency}, tried {} times{exchange}: {}",
            step.attempts, step.said
        ),
        State::Refused => format!("{name}: REFUSED by {agency}{exchange}: {}", step.said),
    }
}
