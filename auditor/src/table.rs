//! A report for people: a table of what was checked, what failed, and one sentence at the end.

use std::fmt::{self, Write};

use crate::{
    printable::printable,
    report::{Report, Tally},
};

/// The width of the column that says what was checked.
const WORDS: usize = 72;

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{} {}: {} records\n",
            if self.facts.exchange.is_none() {
                "Log"
            } else {
                "Container with"
            },
            printable(&self.subject()),
            self.facts.records
        )?;
        writeln!(
            formatter,
            "{:WORDS$}  {:>10}  result",
            "what was checked", "how many"
        )?;
        let mut subject = None;
        for check in self.checks() {
            if subject.replace(check.subject()) != Some(check.subject()) {
                writeln!(formatter, "{}", check.subject().heading())?;
            }
            let tally = self.tally(check);
            let (count, result) = (tally.count(), Outcome(tally));
            writeln!(
                formatter,
                "  {:width$}  {count:>10}  {result}",
                check.words(),
                width = WORDS - 2
            )?;
        }
        writeln!(formatter)?;
        for sentence in self.sentences() {
            writeln!(formatter, "{}", printable(&sentence))?;
        }
        if !self.findings().is_empty() {
            writeln!(formatter, "\nWhat does not hold:")?;
        }
        for finding in self.findings() {
            writeln!(formatter, "  {finding}")?;
        }
        let more = self.failures() - self.findings().len() as u64;
        if more > 0 {
            writeln!(formatter, "  and {more} more, counted in the table")?;
        }
        writeln!(formatter, "\n{}", self.verdict())
    }
}

/// The result of a check in one word or two.
struct Outcome(Tally);

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            held,
            failed,
            unchecked,
        } = self.0;
        match (held, failed, unchecked) {
            (0, 0, 0) => formatter.write_str("none there"),
            (_, 0, 0) => formatter.write_str("all hold"),
            (_, 0, _) => write!(formatter, "{unchecked} not checkable"),
            (_, _, 0) => write!(formatter, "{failed} FAIL"),
            _ => write!(formatter, "{failed} FAIL, {unchecked} not checkable"),
        }
    }
}

impl Report {
    /// The facts and notes, as sentences.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let facts = &self.facts;
        let mut sentences = Vec::new();
        if let Some(size) = facts.checkpoint_size {
            let mut sentence = format!("The checkpoint covers {size} records.");
            if facts.records_after_checkpoint > 0 {
                let after = facts.records_after_checkpoint;
                // A String takes every write.
                let _ = write!(
                    sentence,
                    " {after} came after it: nobody has signed for them yet."
                );
            }
            sentences.push(sentence);
        }
        sentences.push(format!(
            "Exchanges: {} answered, {} closed without a final reply, {} still open.",
            facts.exchanges_answered, facts.exchanges_closed, facts.exchanges_open
        ));
        sentences.push(format!(
            "Contents of messages: {} kept, {} never kept (refusals), {} destroyed with a record.",
            facts.contents_kept, facts.contents_never_kept, facts.contents_erased
        ));
        if facts.exchange.is_none() && facts.promises_kept + facts.promises_unproven > 0 {
            sentences.push(format!(
                "Promises of other servers: {} proven to be kept, {} not proven yet.",
                facts.promises_kept, facts.promises_unproven
            ));
        }
        if facts.late_requests > 0 {
            sentences.push(format!(
                "Requests under way when their exchange ended, recorded after it: {}.",
                facts.late_requests
            ));
        }
        if facts.overlapping_decisions > 0 {
            sentences.push(format!(
                "Decisions recorded within seconds of a change that would have altered them: {}.",
                facts.overlapping_decisions
            ));
        }
        if facts.unusable_certificates > 0 {
            sentences.push(format!(
                "Recorded certificates that cannot be used: {}.",
                facts.unusable_certificates
            ));
        }
        if facts.refused_actions > 0 {
            sentences.push(format!(
                "Asked for by operators and refused: {} times.",
                facts.refused_actions
            ));
        }
        if facts.security_events > 0 {
            sentences.push(format!(
                "Refused before it could be evidence, as security records say: {} events.",
                facts.security_events
            ));
        }
        sentences.push(
            "Revocation: not asked (no service is named). Time tokens: not asked. Access rights \
             are checked where they are recorded, in the provider's log."
                .to_owned(),
        );
        sentences.extend(self.notes.iter().cloned());
        sentences
    }
}
