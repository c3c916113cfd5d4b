//! What has to change for a server's state to be what a file says.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use trust::wire::evidence::Change;

use super::ChangeKey;

/// The changes that lead from one state to another.
#[derive(Debug, Default)]
pub struct Difference {
    added: BTreeMap<ChangeKey, Change>,
    changed: BTreeMap<ChangeKey, Change>,
    removed: BTreeMap<ChangeKey, Change>,
}

/// The difference for machines.
#[derive(Debug, Serialize)]
pub struct Summary {
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
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
                    difference.changed.insert(key, change);
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
        others.extend(self.changed);
        removals.chain(others.into_values()).collect()
    }

    /// The difference for machines.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let keys = |changes: &BTreeMap<ChangeKey, Change>| {
            changes.keys().map(ToString::to_string).collect()
        };
        Summary {
            added: keys(&self.added),
            changed: keys(&self.changed),
            removed: keys(&self.removed),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(formatter, "nothing to change");
        }
        for (sign, changes) in [
            ('+', &self.added),
            ('~', &self.changed),
            ('-', &self.removed),
        ] {
            for key in changes.keys() {
                writeln!(formatter, "{sign} {key}")?;
            }
        }
        Ok(())
    }
}
