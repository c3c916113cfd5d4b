//! The difference between the state and what is wanted, in an order that the rules accept.

use std::{cmp::Reverse, collections::BTreeMap, fmt};

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest,
    configuration::{RejectedChange, State, StateKey},
    wire::configuration::{AuthenticationCertificate, Change},
};

use super::{
    describe::describe,
    wanted::{List, Prune, Wanted},
};

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It had no value.
    Added,
    /// It had another value.
    Changed,
    /// It has no value any more.
    Removed,
}

/// One change, as people read it.
#[derive(Debug, Clone)]
pub struct Difference {
    /// What happens.
    pub kind: Kind,
    key: StateKey,
    former: Option<Bytes>,
    next: Option<Bytes>,
}

impl Difference {
    fn of(state: &State, key: StateKey, next: Option<Bytes>) -> Option<Self> {
        let former = state.value(&key).cloned();
        let kind = match (&former, &next) {
            (Some(former), Some(next)) if former == next => return None,
            (Some(_), Some(_)) => Kind::Changed,
            (None, _) => Kind::Added,
            (Some(_), None) => Kind::Removed,
        };
        // Removing what is not there is no difference, but wrong: the rules refuse it by name.
        let kind = if next.is_none() { Kind::Removed } else { kind };
        Some(Self {
            kind,
            key,
            former,
            next,
        })
    }

    /// The change as it is signed.
    #[must_use]
    pub fn change(&self) -> Change {
        Change {
            key: self.key.to_string(),
            value: self.next.clone(),
        }
    }

    /// Members before what they own, removals in the opposite order, officers at the end: they
    /// decide on everything before.
    fn rank(&self) -> impl Ord + use<> {
        let officer = matches!(self.key, StateKey::Officer(_));
        let removed = self.next.is_none();
        let forwards = (!removed).then(|| self.key.clone());
        let backwards = removed.then(|| Reverse(self.key.clone()));
        (officer, removed, forwards, backwards)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let described = |value: &Option<Bytes>| {
            value
                .as_ref()
                .map_or_else(String::new, |value| describe(&self.key, value))
        };
        match self.kind {
            Kind::Added => write!(formatter, "+ {} {}", self.key, described(&self.next)),
            Kind::Changed => {
                let (former, next) = (described(&self.former), described(&self.next));
                write!(formatter, "~ {} {former} -> {next}", self.key)
            }
            Kind::Removed => write!(formatter, "- {} {}", self.key, described(&self.former)),
        }
    }
}

/// All differences in order, with the blobs they name.
#[derive(Debug, Default)]
pub struct Plan {
    /// The differences.
    pub differences: Vec<Difference>,
    pub(super) blobs: BTreeMap<Digest, Bytes>,
}

impl Plan {
    /// What has to change so that the state says what is wanted.
    #[must_use]
    pub fn of_wanted(state: &State, wanted: Wanted, prune: Prune) -> Self {
        let removed = state.pairs().filter_map(|(text, value)| {
            let key = StateKey::parse(state.instance(), text).ok()?;
            let goes = !wanted.values.contains_key(&key)
                && (is_replaced(&wanted, state, &key, value) || is_pruned(&wanted, &key, prune));
            goes.then_some((key, None))
        });
        let mut changes: Vec<(StateKey, Option<Bytes>)> = removed.collect();
        changes.extend(
            wanted
                .values
                .into_iter()
                .map(|(key, value)| (key, Some(value))),
        );
        Self::of_changes(state, changes, wanted.blobs)
    }

    /// Single changes: the new value of each key, or none to remove it.
    #[must_use]
    pub fn of_changes(
        state: &State,
        changes: impl IntoIterator<Item = (StateKey, Option<Bytes>)>,
        blobs: BTreeMap<Digest, Bytes>,
    ) -> Self {
        let mut differences: Vec<Difference> = changes
            .into_iter()
            .filter_map(|(key, value)| Difference::of(state, key, value))
            .collect();
        differences.sort_by_cached_key(Difference::rank);
        Self { differences, blobs }
    }

    /// How many differences there are of a kind.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.differences
            .iter()
            .filter(|difference| difference.kind == kind)
            .count()
    }

    /// Whether the rules allow it, asked before anything is signed.
    ///
    /// # Errors
    /// The first change that they do not allow.
    pub fn check(&self, state: &State) -> Result<(), RejectedChange> {
        let changes: Vec<Change> = self.differences.iter().map(Difference::change).collect();
        state.clone().apply(&changes).map(drop)
    }
}

/// Whether a key belongs to a list of a server that was given without it.
fn is_replaced(wanted: &Wanted, state: &State, key: &StateKey, value: &Bytes) -> bool {
    let (server, list) = match key {
        StateKey::Registration(server, _) => (server.clone(), List::Registrations),
        StateKey::Log(server, _) => (server.clone(), List::LogKeys),
        StateKey::Authentication(_) => {
            let named = AuthenticationCertificate::decode(value.clone()).unwrap_or_default();
            match format!("{}/{}", state.instance(), named.server).parse() {
                Ok(server) => (server, List::Certificates),
                Err(_) => return false,
            }
        }
        _ => return false,
    };
    wanted.complete.contains(&(server, list))
}

fn is_pruned(wanted: &Wanted, key: &StateKey, prune: Prune) -> bool {
    let is_officer = |key: &StateKey| matches!(key, StateKey::Officer(_));
    prune == Prune::Yes && (!is_officer(key) || wanted.values.keys().any(is_officer))
}
