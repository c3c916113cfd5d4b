//! Verifies a container offline, trusting nothing but the anchor.

use std::path::Path;

use trust::{
    ExchangeId,
    checkpoint::{Origin, SignedCheckpoint},
    configuration::Anchor,
};
use verifiable_log::ReadRecord;

use super::{
    Evidence, ProvenRecord,
    archive::{self, NotRead},
    files::{CHECKPOINT, Files, INSTRUCTIONS, STATEMENT, files},
    statement::Statement,
};
use crate::{
    audit::{Audit, leaf_of},
    check::Check,
    keys,
    report::Report,
    tree::Tree,
};

/// Verifies the container in a file. `at` is the time of the audit in seconds since 1970 (UTC).
///
/// # Errors
/// When there is no container to verify. Whatever is wrong with one is in the report.
pub fn verify(path: &Path, anchor: &Anchor, at: i64) -> Result<Report, NotRead> {
    let found = archive::read(path)?;
    let mut report = Report::default();
    report.facts.log = path.display().to_string();
    let evidence = match parse(&found) {
        Ok(evidence) => evidence,
        Err(problem) => {
            report.log_failed(Check::Container, problem);
            return Ok(report);
        }
    };
    report.facts.log = evidence.log.to_string();
    report.facts.exchange = Some(evidence.exchange.to_string());
    compare(&mut report, &evidence, &found);
    let Some(keeper) = evidence.log.server() else {
        let problem = format!("{} is no log of a security server", evidence.log);
        report.log_failed(Check::Container, problem);
        return Ok(report);
    };
    let tree = Tree::of_proofs(evidence.checkpoint.clone());
    let mut audit = Audit::new(report, anchor, keeper, tree, at);
    for proven in evidence.records {
        audit.proven(proven, &evidence.exchange);
    }
    Ok(audit.finish_container())
}

fn parse(found: &Files) -> Result<Evidence, String> {
    let file = |name: &str| found.get(name).ok_or_else(|| format!("there is no {name}"));
    let stated = Statement::parse(file(STATEMENT)?)
        .map_err(|problem| format!("{STATEMENT} cannot be read: {problem}"))?;
    let exchange: ExchangeId = stated
        .exchange
        .parse()
        .map_err(|_| format!("{STATEMENT} names no exchange"))?;
    let log: Origin = stated
        .log
        .parse()
        .map_err(|_| format!("{STATEMENT} names no log"))?;
    let checkpoint = SignedCheckpoint::parse(file(CHECKPOINT)?)
        .map_err(|error| format!("{CHECKPOINT} cannot be read: {error}"))?;
    let records = stated
        .into_records(|name| found.get(name).cloned())
        .map_err(|problem| format!("{STATEMENT}: {problem}"))?;
    Ok(Evidence {
        exchange,
        log,
        checkpoint,
        records,
    })
}

/// Every file is the one that the records lead to, and nothing is there besides: what others
/// verify with openssl is what is verified here.
fn compare(report: &mut Report, evidence: &Evidence, found: &Files) {
    let expected = match files(evidence) {
        Ok(expected) => expected,
        Err(problem) => return report.log_failed(Check::Container, problem),
    };
    for (name, bytes) in &expected {
        match found.get(name) {
            Some(same) if same == bytes => report.held(Check::Container),
            Some(_) if name == INSTRUCTIONS => report.notes.push(format!(
                "{INSTRUCTIONS} is not the text that this version writes; do not follow it blindly."
            )),
            Some(_) => {
                let problem = format!("{name} is not what the records of the container lead to");
                report.log_failed(Check::Container, problem);
            }
            None => report.log_failed(Check::Container, format!("there is no {name}")),
        }
    }
    for name in found.keys().filter(|name| !expected.contains_key(*name)) {
        let name: String = name.escape_debug().take(200).collect();
        let problem = format!("{name} does not belong to this container");
        report.log_failed(Check::Container, problem);
    }
}

impl Audit {
    /// Takes in a record of a container.
    fn proven(&mut self, proven: ProvenRecord, exchange: &ExchangeId) {
        let ProvenRecord { record, proof } = proven;
        let index = record.index;
        if keys::exchange_of(&record.kept).is_some_and(|found| found != *exchange) {
            let problem = "it belongs to another exchange";
            self.report.failed(Check::Container, index, problem);
        }
        let leaf = leaf_of(&record.kept);
        self.tree
            .include(&mut self.report, index, leaf.leaf(), &proof);
        let prepared = self.preparation().of(ReadRecord { record, leaf });
        self.record(prepared);
    }

    fn finish_container(mut self) -> Report {
        let report = &mut self.report;
        self.tree
            .finish_proofs(report, &self.configuration, &self.keeper);
        self.contents.finish(report);
        self.times.finish(report);
        self.exchanges.finish(report);
        report.facts.newest_serial = self.configuration.newest_serial();
        if report.facts.messages == 0 {
            report.log_failed(Check::Container, "it holds no message of the exchange");
        }
        let decided = report.tally(Check::Rights).count() + report.tally(Check::Refusals).count();
        if decided == 0 {
            let note = "This is the consumer's evidence: the right that allowed the call is in the \
                        provider's log alone.";
            report.notes.push(note.to_owned());
        }
        if report.facts.exchanges_open > 0 {
            let note = "The exchange has no recorded end in this container: it was under way, or \
                        whoever made the container left it out.";
            report.notes.push(note.to_owned());
        }
        self.report
    }
}
