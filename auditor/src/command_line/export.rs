//! `auditor export`: the evidence of one exchange as a file.

use std::path::PathBuf;

use clap::Parser;
use trust::ExchangeId;

use super::{Outcome, WrongUse};
use crate::container::{archive, export, files};

#[derive(Debug, Parser)]
pub(super) struct Export {
    /// The folder of the log.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The exchange: what the client was given as x-road-exchange-id.
    #[arg(value_name = "EXCHANGE_ID")]
    exchange: ExchangeId,
    /// The file to write, which must not exist.
    #[arg(short, long, value_name = "FILE.asice")]
    output: PathBuf,
}

impl Export {
    pub(super) fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let evidence = export::export(&self.log, self.exchange, progress).map_err(|source| {
            WrongUse::NotExported {
                path: self.log.clone(),
                source,
            }
        })?;
        let files = files::files(&evidence).map_err(WrongUse::NoFiles)?;
        archive::write(&durable::Posix, &self.output, &files).map_err(|source| {
            WrongUse::NotWritten {
                path: self.output.clone(),
                source,
            }
        })?;
        let text = format!(
            "{}: exchange {} with {} records of {}, proven under a checkpoint of {} records.\n\
             Verify it with `auditor verify`, or as VERIFY.txt in it says.\n",
            self.output.display(),
            evidence.exchange,
            evidence.records.len(),
            evidence.log,
            evidence.checkpoint.unverified().size
        );
        Ok(Outcome {
            text,
            holds: true,
            unread: Vec::new(),
        })
    }
}
