//! `auditor show`: an exchange or one record, readably.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use prost::Message;
use serde::Serialize;
use trust::ExchangeId;

use super::{Outcome, WrongUse};
use crate::{
    outline::Outline,
    records::Records,
    show::{self, Descriptors},
};

#[derive(Debug, Parser)]
pub(super) struct Show {
    /// The folder of the log.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The exchange: what the client was given as x-road-exchange-id.
    #[arg(value_name = "EXCHANGE_ID", required_unless_present = "record")]
    exchange: Option<ExchangeId>,
    /// One record, by its position in the log, instead of an exchange.
    #[arg(long, value_name = "NUMBER", conflicts_with = "exchange")]
    record: Option<u64>,
    /// Describes services, so that messages are decoded: a .proto file, or an encoded
    /// FileDescriptorSet, as `protoc --include_imports --descriptor_set_out` writes it. May be
    /// given often.
    #[arg(long, value_name = "FILE")]
    descriptor: Vec<PathBuf>,
    /// The folder of an index, as in `list`.
    #[arg(long, value_name = "DIR")]
    index: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let descriptors = self.read_descriptors()?;
        let log = Records::new(&self.log, self.index.clone());
        let records = match (self.record, self.exchange) {
            (Some(index), _) => log.at(index, progress).map(Vec::from_iter),
            (None, Some(exchange)) => log.of_exchange(exchange, progress),
            (None, None) => Ok(Vec::new()),
        };
        let records = records.map_err(|source| WrongUse::Unreadable {
            path: self.log.clone(),
            source,
        })?;
        let shown: Vec<Outline> = records
            .iter()
            .map(|record| show::record(record, &descriptors))
            .collect();
        let text = if self.json {
            in_json(&shown)
        } else if shown.is_empty() {
            "There is no such record in this log.\n".to_owned()
        } else {
            let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
            format!("{}\nShown, not verified.\n", shown.join("\n"))
        };
        Ok(Outcome {
            text,
            holds: !records.is_empty(),
            unread: Vec::new(),
        })
    }

    fn read_descriptors(&self) -> Result<Descriptors, WrongUse> {
        let mut descriptors = Descriptors::default();
        for path in &self.descriptor {
            let added = read_descriptor(path).and_then(|encoded| descriptors.add(&encoded));
            added.map_err(|problem| WrongUse::Descriptors {
                path: path.clone(),
                problem,
            })?;
        }
        Ok(descriptors)
    }
}

/// The encoded FileDescriptorSet of a file. What a .proto file imports is looked for beside it.
fn read_descriptor(path: &Path) -> Result<Vec<u8>, String> {
    if path
        .extension()
        .is_some_and(|extension| extension == "proto")
    {
        let beside = path.parent().unwrap_or_else(|| Path::new("."));
        let compiled = protox::compile([path], [beside]);
        return compiled
            .map(|files| files.encode_to_vec())
            .map_err(|error| error.to_string());
    }
    fs::read(path).map_err(|error| error.to_string())
}

fn in_json(records: &[Outline]) -> String {
    #[derive(Serialize)]
    struct Shown<'a> {
        records: &'a [Outline],
    }
    // Outlines have names and values that JSON has.
    serde_json::to_string_pretty(&Shown { records }).unwrap_or_default() + "\n"
}
