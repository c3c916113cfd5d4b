//! What has to change for a server's state to be what a file says.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use trust::wire::evidence::Change;

use super::{ChangeKey, StateFile};

/// The changes that lead from one state to another.
#[derive(Debug, Default)]
pub struct Difference {
    added: BTreeMap<ChangeKey, Change>,
    /// What is there now, and what is wanted.
    changed: BTreeMap<ChangeKey, (Change, Change)>,
    removed: BTreeMap<ChangeKey, Change>,
}

/// The difference for machines.
#[derive(Debug, Serialize)]
pub struct Summary {
    added: Vec<String>,
    changed: Vec<ChangedEntry>,
    removed: Vec<String>,
}

/// An entry that changes: the lines of the state file that go, and those that come.
#[derive(Debug, Serialize)]
struct ChangedEntry {
    entry: String,
    from: Vec<String>,
    to: Vec<String>,
}

impl ChangedEntry {
    fn of(key: &ChangeKey, (present, wanted): &(Change, Change)) -> Self {
        let (present, wanted) = (lines(present), lines(wanted));
        let without = |these: &[String], those: &[String]| {
            let left = these.iter().filter(|line| !those.contains(line));
            left.cloned().collect()
        };
        Self {
            entry: key.to_string(),
            from: without(&present, &wanted),
            to: without(&wanted, &present),
        }
    }
}

/// An entry as it stands in a state file, without its heading.
fn lines(change: &Change) -> Vec<String> {
    let file = StateFile::of(std::slice::from_ref(change));
    let text = toml::to_string(&file).unwrap_or_default();
    text.lines().skip(1).map(str::to_owned).collect()
}

impl Difference {
    /// What leads from `current` to `wanted`.
    #[must_use]
    pub fn between(current: &[Change], wanted: BTreeMap<ChangeKey, Change>) -> Self {
        let mut removed: BTreeMap<ChangeKey, Change> = current
            .iter()
            .map(|change| {
                (
                    ChangeKey::of(change),
                    Change {
                        unix_user: 0,
                        ..change.clone()
                    },
                )
            })
            .collect();
        let mut difference = Self::default();
        for (key, change) in wanted {
            match removed.remove(&key) {
                None => {
                    difference.added.insert(key, change);
                }
                Some(present) if present != change => {
                    difference.changed.insert(key, (present, change));
                }
                Some(_) => {}
            }
        }
        difference.removed = removed;
        difference
    }

    /// Whether nothing has to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// The changes in an order in which they can be applied: removals first, dependents before
    /// what they depend on; then the rest, dependents after.
    #[must_use]
    pub fn into_changes(self) -> Vec<Change> {
        let removals = self.removed.into_values().rev();
        let removals = removals.map(|change| Change {
            value: None,
            ..change
        });
        let mut others = self.added;
        let wanted = |(key, (_, wanted))| (key, wanted);
        others.extend(self.changed.into_iter().map(wanted));
        removals.chain(others.into_values()).collect()
    }

    fn changed_entries(&self) -> impl Iterator<Item = ChangedEntry> {
        self.changed
            .iter()
            .map(|(key, change)| ChangedEntry::of(key, change))
    }

    /// The difference for machines.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let keys = |changes: &BTreeMap<ChangeKey, Change>| {
            changes.keys().map(ToString::to_string).collect()
        };
        Summary {
            added: keys(&self.added),
            changed: self.changed_entries().collect(),
            removed: keys(&self.removed),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(formatter, "nothing to change");
        }
        for key in self.added.keys() {
            writeln!(formatter, "+ {key}")?;
        }
        for ChangedEntry { entry, from, to } in self.changed_entries() {
            writeln!(formatter, "~ {entry}")?;
            for line in from {
                writeln!(formatter, "    from {line}")?;
            }
            for line in to {
                writeln!(formatter, "    to   {line}")?;
            }
        }
        for key in self.removed.keys() {
            writeln!(formatter, "- {key}")?;
        }
        Ok(())
    }
}
