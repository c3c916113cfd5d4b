//! The command line: `auditor verify`, `list`, `show`, `export`, `reconcile`.

mod export;
mod list;
mod reconcile;
mod show;
mod verify;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, Parser, Subcommand};
use trust::configuration::Anchor;

use crate::{
    NotExported, NotRead, audit::NotAudited, files::in_words, printable::printable,
    reconciliation::NotReconciled,
};

/// Check message logs offline, trusting nothing but the anchor; find and read what is in them.
#[derive(Debug, Parser)]
#[command(name = "auditor", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify whole logs, also while their servers write them, and evidence containers.
    ///
    /// Prints each kind of check with its count, what does not hold, and a verdict. Exits with 0
    /// if every check holds, with 1 if one fails, else with 2 if something could not be read.
    Verify(verify::Verify),
    /// List the exchanges of a log: who asked what of whom, when, and how it ended.
    ///
    /// Says what the log says and verifies only its checksums: for proof, `auditor verify`. Exits
    /// with 0 if an exchange was found, with 1 if none was, with 2 if the log cannot be read.
    List(Box<list::List>),
    /// Print an exchange, or one record, readably.
    ///
    /// Says what the log says and verifies only its checksums: for proof, `auditor verify`. Exits
    /// with 0 if it was found, with 1 if not, with 2 if the log cannot be read.
    Show(show::Show),
    /// Write the evidence of an exchange, or of a case, into containers that prove themselves (ASiC-E).
    ///
    /// Each holds the messages, their signatures as standard files, the records they rely on, and the
    /// proof that each is in the log. VERIFY.txt in it says how to verify it with unzip, sha256sum
    /// and openssl. Of a case, what was refused before anything of it was signed is left out. Exits
    /// with 0 if it was written, with 1 if the log has no exchange of the case, with 2 if not.
    Export(export::Export),
    /// Hold two logs against each other: exchanges that one side lacks, broken promises.
    ///
    /// The logs are of two servers, and may be in use. Exits with 0 if nothing is lacking, with 1 if
    /// something is, with 2 if a log cannot be read.
    Reconcile(reconcile::Reconcile),
    /// Print the completions of a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// What is wrong with the order, not with a log.
#[derive(Debug, thiserror::Error)]
pub enum WrongUse {
    /// The anchor cannot be read.
    #[error("cannot read the anchor {path}")]
    Anchor {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The anchor is none.
    #[error("{path} is no anchor: {problem}")]
    NoAnchor {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// There is no log.
    #[error(transparent)]
    NotAudited(#[from] NotAudited),
    /// The log or its index cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The folder of the log.
        path: PathBuf,
        /// Why.
        #[source]
        source: verifiable_log::Error,
    },
    /// There is no container to verify.
    #[error("cannot read the container {path}")]
    NoContainer {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: NotRead,
    },
    /// The exchange cannot be exported.
    #[error("nothing was exported from {path}")]
    NotExported {
        /// The folder of the log.
        path: PathBuf,
        /// Why.
        #[source]
        source: NotExported,
    },
    /// More than are exported at once.
    #[error(
        "the case has {count} exchanges in this log, more than {limit}: export them one by one"
    )]
    TooManyExchanges {
        /// How many.
        count: u64,
        /// The limit.
        limit: usize,
    },
    /// The container cannot be made.
    #[error("nothing was exported: {0}")]
    NoFiles(String),
    /// The container cannot be written.
    #[error("cannot write {path}")]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The two logs cannot be held against each other.
    #[error(transparent)]
    NotReconciled(#[from] NotReconciled),
    /// A key for persons cannot be used.
    #[error("cannot use the subject key {path}: {problem}")]
    SubjectKey {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A file with descriptors cannot be used.
    #[error("cannot use the descriptors in {path}: {problem}")]
    Descriptors {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

/// What a command has to say.
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Whether every check held, or what was looked for was found.
    pub holds: bool,
    /// Why some of what was asked for could not be read.
    pub unread: Vec<WrongUse>,
}

impl Arguments {
    /// Does what was asked. `now` is the time of the clock in seconds since 1970 (UTC);
    /// `progress` is told how many records of which log were read.
    ///
    /// # Errors
    /// When there is nothing that could be checked.
    pub fn run(&self, now: i64, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        match &self.command {
            Command::Verify(verify) => verify.run(now, progress),
            Command::List(list) => list.run(progress),
            Command::Show(show) => show.run(progress),
            Command::Export(export) => export.run(progress),
            Command::Reconcile(reconcile) => reconcile.run(now, progress),
            Command::Completions { shell } => Ok(completions(*shell)),
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "auditor", &mut text);
    Outcome {
        text: String::from_utf8_lossy(&text).into_owned(),
        holds: true,
        unread: Vec::new(),
    }
}

fn read_anchor(path: &Path) -> Result<Anchor, WrongUse> {
    let text = fs::read_to_string(path).map_err(|source| WrongUse::Anchor {
        path: path.to_owned(),
        source,
    })?;
    Anchor::from_json(&text).map_err(|refusal| WrongUse::NoAnchor {
        path: path.to_owned(),
        problem: refusal.explanation,
    })
}

/// An error with its causes, for the one place that prints it.
#[must_use]
pub fn explain(error: &WrongUse) -> String {
    printable(&in_words(error)).into_owned()
}
