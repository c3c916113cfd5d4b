//! `auditor export`: the evidence of one exchange as a file, or of all exchanges of a case as a folder of such files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    slice,
};

use clap::Parser;
use trust::ExchangeId;

use super::{Outcome, WrongUse};
use crate::{
    container::{Evidence, archive, export, files},
    listing::{Filter, Summary},
    records::Records,
};

/// The most exchanges of a case: each keeps what it relies on while the log is read.
const EXCHANGES_LIMIT: usize = 100;

#[derive(Debug, Parser)]
pub(super) struct Export {
    /// The folder of the log.
    #[arg(value_name = "LOG")]
    log: PathBuf,
    /// The exchange: what the client was given as x-road-exchange-id.
    #[arg(value_name = "EXCHANGE_ID", required_unless_present = "case")]
    exchange: Option<ExchangeId>,
    /// All exchanges of this case number, x-road-issue, that the log holds: one file for each, in the
    /// order in which they began.
    #[arg(long, value_name = "TEXT", conflicts_with = "exchange")]
    case: Option<String>,
    /// The file to write; with --case the folder. Neither may exist.
    #[arg(short, long, value_name = "FILE.asice|DIR")]
    output: PathBuf,
}

impl Export {
    pub(super) fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Outcome, WrongUse> {
        let (text, written) = match &self.case {
            Some(case) => self.export_case(case, progress)?,
            None => {
                let evidence = self.evidence(self.exchange.as_slice(), progress)?;
                let text = write(&evidence, slice::from_ref(&self.output))?;
                (text, evidence.len())
            }
        };
        Ok(Outcome {
            text,
            holds: written > 0,
            unread: Vec::new(),
        })
    }

    /// Exports what of a case was signed. Gives what to say, and how many files were written.
    fn export_case(
        &self,
        case: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(String, usize), WrongUse> {
        let filter = Filter {
            case_number: Some(case.to_owned()),
            ..Filter::default()
        };
        let found = Records::new(&self.log, None).list(filter, EXCHANGES_LIMIT, progress);
        let found = found.map_err(|source| WrongUse::Unreadable {
            path: self.log.clone(),
            source,
        })?;
        if found.more > 0 {
            return Err(WrongUse::TooManyExchanges {
                count: found.exchanges.len() as u64 + found.more,
                limit: EXCHANGES_LIMIT,
            });
        }
        let mut seen = BTreeSet::new();
        let signed = found.exchanges.iter().filter_map(|summary| {
            let exchange: ExchangeId = summary.exchange.parse().ok()?;
            let is_signed = summary.requests + summary.replies > 0;
            (is_signed && seen.insert(exchange)).then_some((exchange, summary))
        });
        let (exchanges, summaries): (Vec<_>, Vec<_>) = signed.unzip();
        if exchanges.is_empty() {
            return Ok(("No exchange of this case is in this log.\n".to_owned(), 0));
        }
        let evidence = self.evidence(&exchanges, progress)?;
        fs::create_dir(&self.output).map_err(|source| WrongUse::NotWritten {
            path: self.output.clone(),
            source,
        })?;
        let names = (1..).zip(&summaries).map(|(place, summary)| {
            let name = file_name(place, summary);
            self.output.join(name)
        });
        let text = write(&evidence, &names.collect::<Vec<_>>())?;
        Ok((text, exchanges.len()))
    }

    fn evidence(
        &self,
        exchanges: &[ExchangeId],
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Evidence>, WrongUse> {
        let evidence = export::export(&self.log, exchanges, progress);
        evidence.map_err(|source| WrongUse::NotExported {
            path: self.log.clone(),
            source,
        })
    }
}

/// `01-FindPerson-EXCHANGE.asice`: sorted by name, they stand in order.
fn file_name(place: usize, summary: &Summary) -> String {
    let method = summary.method.rsplit('/').next().unwrap_or_default();
    let is_plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    let method: String = method.chars().filter(is_plain).collect();
    format!("{place:02}-{method}-{}.asice", summary.exchange)
}

/// Writes each into its file; gives what to say of them.
fn write(evidence: &[Evidence], paths: &[PathBuf]) -> Result<String, WrongUse> {
    let mut text = String::new();
    for (evidence, path) in evidence.iter().zip(paths) {
        text += &write_one(evidence, path)?;
    }
    Ok(text + "Verify with `auditor verify`, or as VERIFY.txt in each says.\n")
}

fn write_one(evidence: &Evidence, path: &Path) -> Result<String, WrongUse> {
    let files = files::files(evidence).map_err(WrongUse::NoFiles)?;
    archive::write(&durable::Posix, path, &files).map_err(|source| WrongUse::NotWritten {
        path: path.to_owned(),
        source,
    })?;
    Ok(format!(
        "{}: exchange {} with {} records of {}, proven under a checkpoint of {} records.\n",
        path.display(),
        evidence.exchange,
        evidence.records.len(),
        evidence.log,
        evidence.checkpoint.unverified().size
    ))
}
