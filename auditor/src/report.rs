//! What an audit found: counts by check, findings, and what an auditor should know besides.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{check::Check, printable::printable};

/// The most findings that are kept in words; beyond, they are counted.
pub const FINDINGS_LIMIT: usize = 100;
/// The most certificates that are named because they cannot be used; beyond, they are counted.
const UNUSABLE_LIMIT: u64 = 10;

/// How often a check held, failed, or could not be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// It held.
    pub held: u64,
    /// It failed.
    pub failed: u64,
    /// It relies on something that is missing or failed, which is a finding of its own.
    pub unchecked: u64,
}

impl Tally {
    /// How often it was asked.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.held + self.failed + self.unchecked
    }
}

/// One failure, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check that failed.
    pub check: Check,
    /// The record it failed for, by index from 0; none when it is about the log as a whole.
    pub record: Option<u64>,
    /// Segment (by its first record) and offset in its file, where known.
    pub place: Option<Place>,
    /// What was seen.
    pub problem: String,
}

/// A place in the files of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The segment, by the index of its first record.
    pub segment: u64,
    /// The offset in the segment's file.
    pub offset: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.record, self.place) {
            (Some(record), Some(Place { segment, offset })) => {
                write!(
                    formatter,
                    "record {record} (segment {segment:020}, offset {offset}): "
                )?;
            }
            (Some(record), None) => write!(formatter, "record {record}: ")?,
            (None, Some(Place { segment, offset })) => {
                write!(formatter, "segment {segment:020}, offset {offset}: ")?;
            }
            (None, None) => write!(formatter, "the log: ")?,
        }
        write!(
            formatter,
            "{} [{}]",
            printable(&self.problem),
            self.check.name()
        )
    }
}

/// The facts of a log that are no check: said, and never a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Origin of the log: instance/server/generation.
    pub log: String,
    /// Of a container: the exchange that it is the evidence of.
    pub exchange: Option<String>,
    /// Records that were read.
    pub records: u64,
    /// Of these, messages.
    pub messages: u64,
    /// Records that the stored checkpoint covers; none when there is no checkpoint.
    pub checkpoint_size: Option<u64>,
    /// Records after the checkpoint: nobody has signed for them yet.
    pub records_after_checkpoint: u64,
    /// The newest serial of the configuration that was recorded and verified.
    pub newest_serial: Option<u64>,
    /// Exchanges that ended with a final reply.
    pub exchanges_answered: u64,
    /// Exchanges that ended with a closing record.
    pub exchanges_closed: u64,
    /// Exchanges that are open.
    pub exchanges_open: u64,
    /// Promises of other servers that are proven to be kept.
    pub promises_kept: u64,
    /// Promises of other servers that are not proven yet.
    pub promises_unproven: u64,
    /// Requests recorded just after the final reply of their exchange.
    pub late_requests: u64,
    /// Messages whose content is kept.
    pub contents_kept: u64,
    /// Messages whose content was never kept: refusals and what they refuse.
    pub contents_never_kept: u64,
    /// Messages whose content was destroyed, as a record says.
    pub contents_erased: u64,
    /// Decisions recorded within seconds of a change that would have altered them.
    pub overlapping_decisions: u64,
    /// Recorded certificates that cannot be used.
    pub unusable_certificates: u64,
    /// What operators asked for and were refused.
    pub refused_actions: u64,
    /// What was refused before it could be evidence: events that the security records count.
    pub security_events: u64,
}

/// The outcome of an audit of one log.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// What the log holds.
    pub facts: Facts,
    /// What an auditor should know besides, in sentences.
    pub notes: Vec<String>,
    tallies: BTreeMap<Check, Tally>,
    findings: Vec<Finding>,
    failures: u64,
    unchecked: u64,
}

impl Report {
    /// Whether every check could be made and held.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.failures == 0 && self.unchecked == 0
    }

    /// How many checks failed, also those not kept in words.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    /// The failures in words, in the order in which they were found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The counts of one check.
    #[must_use]
    pub fn tally(&self, check: Check) -> Tally {
        self.tallies.get(&check).copied().unwrap_or_default()
    }

    /// The checks that are made of what was verified, in the order of the report.
    pub fn checks(&self) -> impl Iterator<Item = Check> {
        let is_container = self.facts.exchange.is_some();
        let is_made = move |check: &Check| match check {
            Check::Container | Check::Inclusion => is_container,
            Check::Identity | Check::Records | Check::TornFiles | Check::Root => !is_container,
            Check::PromisesKept | Check::PeerCheckpoints => !is_container,
            _ => true,
        };
        Check::ALL.iter().copied().filter(is_made)
    }

    /// What was verified: a log, or an exchange in a container.
    #[must_use]
    pub fn subject(&self) -> String {
        let log = &self.facts.log;
        match &self.facts.exchange {
            None => log.clone(),
            Some(exchange) => format!("exchange {exchange} of {log}"),
        }
    }

    /// One sentence for whoever reads only one.
    #[must_use]
    pub fn verdict(&self) -> String {
        let subject = self.subject();
        let log = printable(&subject);
        let records = self.facts.records;
        if self.holds() && self.facts.exchange.is_some() && self.facts.exchanges_open > 0 {
            return format!(
                "All checks hold, but how the exchange ended is not in it: {log}, {records} records."
            );
        }
        if self.holds() && self.facts.records_after_checkpoint > 0 {
            let covered = records.saturating_sub(self.facts.records_after_checkpoint);
            return format!(
                "All checks hold: {log}, {records} records, of which the checkpoint covers {covered}."
            );
        }
        if self.holds() {
            return format!("All checks hold: {log}, {records} records.");
        }
        if self.failures == 0 {
            let unchecked = self.unchecked;
            return format!("NOT PROVEN: {log}, {unchecked} checks could not be made.");
        }
        let first = self
            .findings
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        match self.failures {
            1 => format!("One check FAILS: {log}, {first}."),
            failures => format!("{failures} checks FAIL: {log}; the first: {first}."),
        }
    }

    pub(crate) fn held(&mut self, check: Check) {
        self.held_times(check, 1);
    }

    pub(crate) fn held_times(&mut self, check: Check, times: u64) {
        self.tallies.entry(check).or_default().held += times;
    }

    pub(crate) fn unchecked(&mut self, check: Check) {
        self.tallies.entry(check).or_default().unchecked += 1;
        self.unchecked += 1;
    }

    pub(crate) fn failed(&mut self, check: Check, record: u64, problem: impl fmt::Display) {
        self.found(Finding {
            check,
            record: Some(record),
            place: None,
            problem: problem.to_string(),
        });
    }

    pub(crate) fn log_failed(&mut self, check: Check, problem: impl fmt::Display) {
        self.found(Finding {
            check,
            record: None,
            place: None,
            problem: problem.to_string(),
        });
    }

    /// A certificate that nobody can use is said; a message that needs it fails by itself.
    pub(crate) fn unusable_certificate(&mut self, record: u64, problem: &str) {
        self.facts.unusable_certificates += 1;
        if self.facts.unusable_certificates <= UNUSABLE_LIMIT {
            self.notes.push(format!(
                "Record {record} holds a certificate that cannot be used: {problem}."
            ));
        }
    }

    pub(crate) fn found(&mut self, finding: Finding) {
        self.tallies.entry(finding.check).or_default().failed += 1;
        self.failures += 1;
        if self.findings.len() < FINDINGS_LIMIT {
            self.findings.push(finding);
        }
    }

    /// Counts the outcome of a check of one record; gives the value when it held.
    pub(crate) fn judge<T, E: fmt::Display>(
        &mut self,
        check: Check,
        record: u64,
        outcome: Result<T, E>,
    ) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.held(check);
                Some(value)
            }
            Err(problem) => {
                self.failed(check, record, problem);
                None
            }
        }
    }
}
