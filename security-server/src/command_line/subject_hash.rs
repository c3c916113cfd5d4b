//! `security-server subject-hash`: by which hash the records name a person.

use std::{io, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Answer,
    answers::{Outcome, in_json},
};
use crate::{Settings, subjects::read_key};

#[derive(Debug, Args)]
pub struct SubjectHash {
    /// The settings file, server.toml.
    settings: PathBuf,
    /// The person's number, as the services have it; left out: it is read from standard input, so
    /// that it stands in no list of commands.
    number: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl SubjectHash {
    pub(super) fn execute(self) -> Answer {
        let key = read_key(&Settings::load(&self.settings)?)?;
        let number = match self.number {
            Some(number) => number,
            None => {
                let mut line = String::new();
                io::stdin().read_line(&mut line)?;
                line
            }
        };
        if number.trim().is_empty() {
            return Err("no number was given".into());
        }
        let hash = key.hash(&number).to_string();
        Ok(Outcome::good(if self.json {
            in_json(&json!({ "subject_hash": hash }))
        } else {
            hash + "\n"
        }))
    }
}
