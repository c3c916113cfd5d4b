//! The Merkle tree over the records, and the checkpoint that the server has signed.

use trust::{
    Digest, ServerId,
    checkpoint::{Checkpoint, LogKey, Origin, SignedCheckpoint},
    merkle,
};

use crate::{
    check::Check, configuration::RecordedConfiguration, registered::Proven, report::Report,
};

/// The checkpoint as it was stored when the audit began, and what the records come to.
pub(crate) struct Tree {
    checkpoint: Option<SignedCheckpoint>,
    /// The root over the records that the checkpoint covers, once they are read.
    root: Option<Digest>,
    /// Some record has no leaf.
    incomplete: bool,
}

impl Tree {
    /// A checkpoint of size 0 covers nothing.
    pub(crate) fn new(checkpoint: Option<SignedCheckpoint>) -> Self {
        let size = checkpoint.as_ref().map(|signed| signed.unverified().size);
        let root = (size == Some(0)).then(merkle::empty_root);
        Self {
            checkpoint,
            root,
            incomplete: false,
        }
    }

    /// Of a container, whose records are proven one by one.
    pub(crate) const fn of_proofs(checkpoint: SignedCheckpoint) -> Self {
        Self {
            checkpoint: Some(checkpoint),
            root: None,
            incomplete: false,
        }
    }

    /// Whether a record is proven to be in the log.
    pub(crate) fn include(&self, report: &mut Report, index: u64, leaf: Digest, proof: &[Digest]) {
        let Some(checkpoint) = self.checkpoint.as_ref().map(SignedCheckpoint::unverified) else {
            return report.unchecked(Check::Inclusion);
        };
        let Checkpoint { size, root, .. } = checkpoint;
        let proven = merkle::verify_inclusion(&leaf, index, *size, proof, root);
        report.judge(Check::Inclusion, index, proven);
    }

    /// At the end of a container.
    pub(crate) fn finish_proofs(
        &self,
        report: &mut Report,
        configuration: &RecordedConfiguration,
        keeper: &(ServerId, u32),
    ) {
        report.facts.checkpoint_size = self.size();
        self.check_signature(report, configuration, keeper);
    }

    /// The leaf of a record cannot be computed.
    pub(crate) const fn without_leaf(&mut self) {
        self.incomplete = true;
    }

    /// So many records were read, and this is the root over their leaves.
    pub(crate) fn reached(&mut self, size: u64, root: impl FnOnce() -> Digest) {
        if self.size() == Some(size) {
            self.root = Some(root());
        }
    }

    /// At the end of the log.
    pub(crate) fn finish(
        &self,
        report: &mut Report,
        configuration: &RecordedConfiguration,
        keeper: &(ServerId, u32),
        is_whole: bool,
    ) {
        let records = report.facts.records;
        report.facts.checkpoint_size = self.size();
        report.facts.records_after_checkpoint = records.saturating_sub(self.size().unwrap_or(0));
        self.check_signature(report, configuration, keeper);
        let Some(signed) = &self.checkpoint else {
            return;
        };
        let claimed = signed.unverified();
        match self.root {
            None if is_whole => report.failed(
                Check::Root,
                records,
                format!(
                    "the checkpoint covers {} records and the log has only {records}: records \
                     are lost",
                    claimed.size
                ),
            ),
            None => report.unchecked(Check::Root),
            Some(_) if self.incomplete => report.unchecked(Check::Root),
            Some(root) if root == claimed.root => report.held(Check::Root),
            Some(_) => report.log_failed(
                Check::Root,
                format!(
                    "one of the first {} records is not the one that the checkpoint was signed for",
                    claimed.size
                ),
            ),
        }
    }

    fn check_signature(
        &self,
        report: &mut Report,
        configuration: &RecordedConfiguration,
        (server, generation): &(ServerId, u32),
    ) {
        let Some(signed) = &self.checkpoint else {
            return self.without_checkpoint(report);
        };
        let key = match configuration.log_key(server, *generation) {
            Proven::Value(key) => LogKey::from_slice(&key),
            Proven::Unknown => return report.unchecked(Check::Checkpoint),
            Proven::Nothing if report.facts.messages == 0 => {
                report.notes.push(
                    "The log is not anchored: it holds no proof of its log key yet. A new server \
                     records it with its first message, and there is none."
                        .to_owned(),
                );
                return;
            }
            Proven::Nothing => {
                let problem = "the log is not anchored: no record proves the key of its \
                               checkpoints";
                return report.log_failed(Check::Checkpoint, problem);
            }
        };
        let origin = Origin::of_server(server, *generation);
        let verified = key
            .ok_or_else(|| "the registered log key is no key".to_owned())
            .and_then(|key| {
                signed
                    .verify(&origin, &key)
                    .map(drop)
                    .map_err(|error| error.to_string())
            });
        match verified {
            Ok(()) => report.held(Check::Checkpoint),
            Err(problem) => report.log_failed(Check::Checkpoint, problem),
        }
    }

    fn without_checkpoint(&self, report: &mut Report) {
        if report.facts.messages == 0 {
            let note = "There is no checkpoint yet, and no message that one would be signed for.";
            return report.notes.push(note.to_owned());
        }
        let problem = "there is no checkpoint: nobody has signed for the messages of this log";
        report.log_failed(Check::Checkpoint, problem);
    }

    fn size(&self) -> Option<u64> {
        self.checkpoint
            .as_ref()
            .map(|signed| signed.unverified().size)
    }
}
