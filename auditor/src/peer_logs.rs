//! Promises: that a provider kept what its replies say, and what other servers proved of theirs.
//!
//! What the keeper of a log writes about another server it could have made up, except a broken
//! promise: that is proven by a reply and a checkpoint which only the other side can sign. So only
//! a broken promise is a failure; the rest is said.

use std::collections::BTreeMap;

use trust::{
    checkpoint::{LogKey, Origin},
    peer_log::{Fault, KEPT, PeerLog},
    promise::PromisedLeaf,
    wire::evidence::PeerCheckpoint,
};

use crate::{
    check::Check, configuration::RecordedConfiguration, registered::Proven, report::Report,
};

/// The logs of other servers, as this log tells of them.
#[derive(Default)]
pub(crate) struct PeerLogs {
    logs: BTreeMap<Origin, Told>,
}

/// What is told of one log.
#[derive(Default)]
struct Told {
    log: PeerLog,
    kept: u64,
    /// How often each verdict other than "kept" was recorded, and where first.
    alarms: BTreeMap<String, (u64, u64)>,
}

impl PeerLogs {
    /// Takes in what a received reply promises.
    pub(crate) fn promised(&mut self, promised: &PromisedLeaf) {
        let told = self.logs.entry(promised.origin.clone()).or_default();
        told.log.promised(promised.index, promised.leaf);
    }

    /// Takes in record `index`: what another server gave, and the verdict of the keeper.
    pub(crate) fn checkpoint(
        &mut self,
        report: &mut Report,
        configuration: &RecordedConfiguration,
        index: u64,
        given: &PeerCheckpoint,
    ) {
        let Ok(origin) = given.origin.parse::<Origin>() else {
            let problem = "it is of no log of a server";
            return report.failed(Check::PeerCheckpoints, index, problem);
        };
        let Some((server, generation)) = origin.server() else {
            let problem = format!("{origin} is no log of a server");
            return report.failed(Check::PeerCheckpoints, index, problem);
        };
        let key = match configuration.log_key(&server, generation) {
            Proven::Value(key) => LogKey::from_slice(&key),
            Proven::Nothing => None,
            Proven::Unknown => return report.unchecked(Check::PeerCheckpoints),
        };
        let told = self.logs.entry(origin.clone()).or_default();
        let judgement = told.log.judge(given, &origin, key.as_ref());
        let found = judgement.verdict();
        if found != given.verdict {
            let problem = format!(
                "the server says \"{}\" of what {origin} gave, and it comes to \"{found}\"",
                given.verdict
            );
            return report.failed(Check::PeerCheckpoints, index, problem);
        }
        report.held(Check::PeerCheckpoints);
        report.held_times(Check::PromisesKept, judgement.kept.len() as u64);
        for (at, _) in &judgement.broken {
            let problem = format!(
                "{server} promised a request its place {at} in its log {origin}, and has proven \
                 another record there: the promise is broken by {server}, not by this log"
            );
            report.failed(Check::PromisesKept, index, problem);
        }
        told.kept += judgement.kept.len() as u64;
        if found != KEPT {
            let alarm = told.alarms.entry(found.to_owned()).or_insert((0, index));
            alarm.0 += 1;
        }
        told.log.take(&judgement);
    }

    /// At the end of the log.
    pub(crate) fn finish(&self, report: &mut Report) {
        for (origin, told) in &self.logs {
            let unproven = told.log.unproven() as u64;
            report.facts.promises_kept += told.kept;
            report.facts.promises_unproven += unproven;
            for (verdict, (count, first)) in &told.alarms {
                if verdict == Fault::PromiseBroken.name() {
                    continue;
                }
                report.notes.push(format!(
                    "ALARM about the log {origin}: \"{verdict}\" in {count} records, first in \
                     {first}. The server whose log this is says so; hold both logs against each \
                     other (auditor reconcile)."
                ));
            }
        }
    }
}
