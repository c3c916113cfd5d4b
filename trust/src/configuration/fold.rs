//! The fold: from the registry's log, record by record, to the state and what was published.

use bytes::Bytes;
use prost::Message;

use super::{ENTRY_LIMIT, RejectedChange, State, StateKey};
use crate::{
    Digest, InstanceId,
    wire::configuration::{ChangeSet, Changes, Entry, Publication, entry::Body},
};

/// Why a log of a registry does not fold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} of the registry's log: {problem}")]
pub struct InvalidEntry {
    /// The index of its record.
    pub index: u64,
    /// What is wrong.
    pub problem: String,
}

/// What the entries read so far amount to.
#[derive(Debug, Clone)]
pub struct Fold {
    state: State,
    size: u64,
    changed_at: u64,
    published: Option<(u64, Publication)>,
}

impl Fold {
    /// Before the first entry of an instance's log.
    #[must_use]
    pub const fn new(instance: InstanceId) -> Self {
        Self {
            state: State::empty(instance),
            size: 0,
            changed_at: 0,
            published: None,
        }
    }

    /// The state after the entries read so far.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// How many records were read.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many records the log had after the last changes; 0 before the first.
    #[must_use]
    pub const fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// The newest publication and the index of its record.
    #[must_use]
    pub fn published(&self) -> Option<(u64, &Publication)> {
        self.published
            .as_ref()
            .map(|(index, publication)| (*index, publication))
    }

    /// Whether the newest publication says the state as it is.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.published
            .as_ref()
            .is_some_and(|(index, _)| *index >= self.changed_at)
    }

    /// Reads the entry of the next record.
    ///
    /// # Errors
    /// When it could not have been appended. The fold stays as it was.
    pub fn entry(&mut self, encoded: &Bytes) -> Result<(), InvalidEntry> {
        let index = self.size;
        let invalid = |problem: String| InvalidEntry { index, problem };
        if encoded.len() > ENTRY_LIMIT {
            return Err(invalid(format!(
                "it measures more than {ENTRY_LIMIT} bytes"
            )));
        }
        let entry = Entry::decode(encoded.clone())
            .map_err(|error| invalid(format!("it does not parse: {error}")))?;
        if entry.instance != self.state.instance().as_str() {
            return Err(invalid(format!("it is of instance \"{}\"", entry.instance)));
        }
        match entry.body {
            Some(Body::Changes(changes)) => {
                self.changes(&changes)
                    .map_err(|rejected| invalid(rejected.to_string()))?;
            }
            Some(Body::Publication(publication)) => {
                self.publication(publication)
                    .map_err(|problem| invalid(problem.to_owned()))?;
            }
            None => return Err(invalid("it says nothing".to_owned())),
        }
        Ok(())
    }

    /// Passes over the next record, which is no entry: what the log says about itself.
    pub const fn other_record(&mut self) {
        self.size += 1;
    }

    /// Decides whether changes may be appended as the next entry, without reading them.
    ///
    /// # Errors
    /// Why they may not.
    pub fn check(&mut self, changes: &Changes) -> Result<ChangeSet, RejectedChange> {
        let set = self.decided(changes)?;
        let applied = self.state.apply(&set.changes)?;
        self.state.undo(applied);
        Ok(set)
    }

    fn changes(&mut self, changes: &Changes) -> Result<(), RejectedChange> {
        let set = self.decided(changes)?;
        self.state.apply(&set.changes)?;
        self.size += 1;
        self.changed_at = self.size;
        Ok(())
    }

    /// The change set, its officer's signature verified and made with this state in view.
    fn decided(&self, changes: &Changes) -> Result<ChangeSet, RejectedChange> {
        let set = if self.changed_at == 0 {
            self.first(changes)?
        } else {
            self.state.decided(changes)?
        };
        if set.based_on > self.size {
            return Err(RejectedChange::ChangeSet(format!(
                "the changes were made for a log of {} records, this one has {}",
                set.based_on, self.size
            )));
        }
        // Publications change nothing that an officer looked at; only changes do. This also
        // refuses the same changes given in twice.
        if set.based_on < self.changed_at {
            return Err(RejectedChange::ChangeSet(format!(
                "someone else changed the registry meanwhile (record {}, after the {} that these \
                 changes were made for); look again and repeat",
                self.changed_at - 1,
                set.based_on
            )));
        }
        if set.changes.is_empty() {
            return Err(RejectedChange::ChangeSet(
                "there is no change in the set".to_owned(),
            ));
        }
        Ok(set)
    }

    /// The first changes name the officer who decides on them, and nothing else: nobody is known
    /// before. The root document, not this entry, says that it is the right log.
    fn first(&self, changes: &Changes) -> Result<ChangeSet, RejectedChange> {
        let rejected = |problem: &str| RejectedChange::ChangeSet(problem.to_owned());
        let set = ChangeSet::decode(changes.change_set.clone())
            .map_err(|error| rejected(&format!("the change set does not parse: {error}")))?;
        let officers_only = set.changes.iter().all(|change| {
            matches!(
                StateKey::parse(self.state.instance(), &change.key),
                Ok(StateKey::Officer(_))
            )
        });
        if !officers_only {
            return Err(rejected("the first entry may only name officers"));
        }
        let mut state = self.state.clone();
        state.apply(&set.changes)?;
        state.decided(changes)
    }

    fn publication(&mut self, publication: Publication) -> Result<(), &'static str> {
        if publication.state_size != self.state.len() as u64 {
            return Err("the publication names another number of keys than the state has");
        }
        if Digest::from_slice(&publication.state_root).is_none() {
            return Err("the publication's state root is not 32 bytes");
        }
        if publication.expires_at <= publication.issued_at {
            return Err("the publication expires before it is issued");
        }
        // A root costs a hash of every key. Between two changes it cannot differ, so it is
        // compared with its neighbour, and computed by `check_published_root` for the newest.
        if let Some((index, former)) = &self.published {
            if former.issued_at > publication.issued_at {
                return Err("the publication is issued before the one before it");
            }
            if *index >= self.changed_at && former.state_root != publication.state_root {
                return Err("the publication names another state root though nothing changed");
            }
        }
        self.published = Some((self.size, publication));
        self.size += 1;
        Ok(())
    }

    /// Whether the newest publication names the root of the state, if it is about it.
    ///
    /// # Errors
    /// When it names another one.
    pub fn check_published_root(&self) -> Result<(), InvalidEntry> {
        match &self.published {
            Some((index, publication))
                if *index >= self.changed_at
                    && publication.state_root.as_ref() != self.state.root().as_bytes() =>
            {
                Err(InvalidEntry {
                    index: *index,
                    problem: "the publication names another state root than the fold has"
                        .to_owned(),
                })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
