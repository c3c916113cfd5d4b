//! The files of a log: damage by place, the half-written end, and what a crash has cut off.

use trust::{Digest, wire::evidence::Torn};
use verifiable_log::{Damage, Error, Reader};

use crate::{
    check::Check,
    report::{Finding, Place, Report},
};

/// The most cut tails that are compared; a server that crashes so often has other worries.
const TORN_LIMIT: usize = 10_000;

/// The tails that records of the log state.
#[derive(Default)]
pub(crate) struct TornRecords {
    stated: Vec<(u64, Torn)>,
}

impl TornRecords {
    /// Takes in a record of a cut tail.
    pub(crate) fn state(&mut self, index: u64, torn: Torn) {
        if self.stated.len() < TORN_LIMIT {
            self.stated.push((index, torn));
        }
    }

    /// Compares them with the files beside the log.
    pub(crate) fn compare(&self, report: &mut Report, reader: &Reader) {
        let files = match reader.torn_files() {
            Ok(files) => files,
            Err(error) => {
                return report.log_failed(Check::TornFiles, in_words(&error));
            }
        };
        for file in &files {
            let place = (file.segment, file.offset, file.length, Some(file.digest));
            let stated = self
                .stated
                .iter()
                .find(|(_, torn)| place_of(torn) == Some(place));
            let words = format!(
                "{} ({} bytes, SHA-256 {})",
                file.name, file.length, file.digest
            );
            match stated {
                Some((index, _)) => {
                    report.held(Check::TornFiles);
                    report.notes.push(format!(
                        "A crash cut off the end of the log: {words}, stated by record {index}."
                    ));
                }
                None => {
                    let problem = format!("no record states the cut tail {words} as it is");
                    report.found(Finding {
                        check: Check::TornFiles,
                        record: None,
                        place: Some(Place {
                            segment: file.segment,
                            offset: file.offset,
                        }),
                        problem,
                    });
                }
            }
        }
        for (index, torn) in &self.stated {
            let place = place_of(torn);
            let kept = files.iter().any(|file| {
                place == Some((file.segment, file.offset, file.length, Some(file.digest)))
            });
            if !kept {
                report.notes.push(format!(
                    "Record {index} states a cut tail of {} bytes (SHA-256 {}), whose file is \
                     no longer kept.",
                    torn.length,
                    hex::encode(&torn.digest)
                ));
            }
        }
    }
}

fn place_of(torn: &Torn) -> Option<(u64, u64, u64, Option<Digest>)> {
    let segment = torn.segment.parse().ok()?;
    Some((
        segment,
        torn.offset,
        torn.length,
        Digest::from_slice(&torn.digest),
    ))
}

/// Reports why the log cannot be read on.
pub(crate) fn report_error(report: &mut Report, read: u64, error: &Error) {
    match error {
        Error::Damaged(damage) => report.found(damaged(damage)),
        other => report.failed(Check::Records, read, in_words(other)),
    }
    report.notes.push(format!(
        "What follows record {} could not be read, and nothing of it was checked.",
        read.checked_sub(1)
            .map_or_else(|| "none".to_owned(), |last| last.to_string())
    ));
}

/// Says where a batch stands that is not whole.
pub(crate) fn note_unfinished(report: &mut Report, damage: &Damage) {
    report.notes.push(format!(
        "The log ends with a batch that is not whole (segment {:020}, offset {}: {}): one being \
         written now, or cut off by a crash. Nothing in it was acknowledged.",
        damage.segment, damage.offset, damage.fault
    ));
}

/// An error with what caused it, in one sentence.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

fn damaged(damage: &Damage) -> Finding {
    Finding {
        check: Check::Records,
        record: Some(damage.index),
        place: Some(Place {
            segment: damage.segment,
            offset: damage.offset,
        }),
        problem: damage.fault.to_string(),
    }
}
