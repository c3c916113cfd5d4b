//! The global configuration as the log recorded it, verified from the anchor on.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest, InstanceId, ServerId,
    configuration::{Anchor, StateKey, VerifiedHead},
    wire::{
        configuration::{Entry, Head, LogKey, entry::Body},
        evidence::Membership,
    },
};

use crate::{
    check::Check,
    registered::{Proven, ProvenState},
    report::Report,
    roots::Roots,
    times::{Moment, RECORDING_SECONDS},
};

/// How many heads are remembered; messages name the newest, or one replaced seconds before.
const HEADS: usize = 256;
/// How many states are remembered with what was proven under them.
const STATES: usize = 16;

/// What the log has proven of the configuration so far.
pub(crate) struct RecordedConfiguration {
    instance: InstanceId,
    roots: Roots,
    heads: VecDeque<RecordedHead>,
    states: VecDeque<ProvenState>,
    newest_serial: Option<u64>,
}

/// A head of the configuration, as messages name it.
struct RecordedHead {
    digest: Digest,
    recorded_at: i64,
    /// None when the head did not verify, or nothing can verify it.
    verified: Option<VerifiedFacts>,
}

/// What is kept of a verified head.
#[derive(Clone, Copy)]
struct VerifiedFacts {
    serial: u64,
    /// Of the publication in the registry's log.
    index: u64,
    state_root: Digest,
    expires_at: i64,
}

impl RecordedConfiguration {
    pub(crate) fn new(anchor: &Anchor) -> Self {
        Self {
            instance: anchor.root().instance().clone(),
            roots: Roots::new(anchor),
            heads: VecDeque::new(),
            states: VecDeque::new(),
            newest_serial: None,
        }
    }

    /// The instance of the anchor.
    pub(crate) const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The newest serial that was verified.
    pub(crate) const fn newest_serial(&self) -> Option<u64> {
        self.newest_serial
    }

    /// Takes in a recorded root document.
    pub(crate) fn root_document(
        &mut self,
        report: &mut Report,
        index: u64,
        signed: &Bytes,
        at: i64,
    ) {
        if self.roots.are_broken() {
            report.unchecked(Check::RootDocuments);
        } else {
            report.judge(Check::RootDocuments, index, self.roots.follow(signed, at));
        }
    }

    /// Takes in a recorded head.
    pub(crate) fn head(&mut self, report: &mut Report, index: u64, encoded: &Bytes, at: i64) {
        let verified = if self.roots.are_broken() {
            report.unchecked(Check::Heads);
            None
        } else {
            report.judge(Check::Heads, index, self.roots.verify_head(encoded, at))
        };
        match verified {
            Some(head) => {
                report.judge(Check::Serials, index, self.check_serial(&head, at));
                self.remember(&head, at);
            }
            None => {
                report.unchecked(Check::Serials);
                self.remember_unverified(encoded, at);
            }
        }
    }

    /// Takes in a recorded proof of membership.
    pub(crate) fn membership(&mut self, report: &mut Report, index: u64, membership: Membership) {
        let root = Digest::from_slice(&membership.state_root);
        match self
            .states
            .iter_mut()
            .find(|state| Some(state.root()) == root)
        {
            Some(state) if state.is_published() => {
                let proven = state.prove(&self.instance, membership);
                report.judge(Check::Memberships, index, proven);
            }
            Some(_) => report.unchecked(Check::Memberships),
            None => {
                let key: String = membership.key.escape_debug().take(300).collect();
                let problem = format!("the proof for {key} leads to no head recorded before it");
                report.failed(Check::Memberships, index, problem);
            }
        }
    }

    /// The state by which a message was decided, from the serial and head that it names. None when
    /// it cannot be relied on: then that is a finding already.
    pub(crate) fn in_force(
        &self,
        report: &mut Report,
        index: u64,
        serial: u64,
        head: Option<Digest>,
        recorded: Moment,
    ) -> Option<&ProvenState> {
        let Some(found) = self.heads.iter().find(|known| Some(known.digest) == head) else {
            let problem = format!("the configuration it names (serial {serial}) is not recorded");
            report.failed(Check::InForce, index, problem);
            return None;
        };
        let Some(facts) = found.verified else {
            report.unchecked(Check::InForce);
            return None;
        };
        report.judge(
            Check::InForce,
            index,
            self.check_in_force(&facts, serial, recorded),
        );
        self.states
            .iter()
            .find(|state| state.root() == facts.state_root)
    }

    /// The log key registered for a server and generation, by the newest state that proves it.
    pub(crate) fn log_key(&self, server: &ServerId, generation: u32) -> Proven<[u8; 32]> {
        let key = StateKey::Log(server.clone(), generation);
        let mut outcome = Proven::Nothing;
        for state in self.states.iter().rev() {
            match state.value::<LogKey>(&key) {
                Proven::Value(value) => {
                    return value
                        .public_key
                        .as_ref()
                        .try_into()
                        .map_or(Proven::Unknown, Proven::Value);
                }
                Proven::Unknown => outcome = Proven::Unknown,
                Proven::Nothing if !state.is_published() => outcome = Proven::Unknown,
                Proven::Nothing => {}
            }
        }
        outcome
    }

    fn check_in_force(
        &self,
        facts: &VerifiedFacts,
        serial: u64,
        recorded: Moment,
    ) -> Result<(), String> {
        let VerifiedFacts {
            serial: found,
            expires_at,
            ..
        } = *facts;
        if found != serial {
            return Err(format!(
                "it names serial {serial} with the head of serial {found}"
            ));
        }
        // It was decided a moment before it was recorded.
        if recorded.at.saturating_sub(RECORDING_SECONDS) >= expires_at {
            let late = recorded.at.saturating_sub(expires_at);
            return Err(format!(
                "configuration {serial} had expired {late} seconds before"
            ));
        }
        let since = |replaced| recorded.logged_at.saturating_sub(replaced);
        match self.replaced_at(serial).map(since) {
            Some(seconds) if seconds > RECORDING_SECONDS => Err(format!(
                "configuration {serial} had been replaced by a newer one {seconds} seconds before"
            )),
            _ => Ok(()),
        }
    }

    fn check_serial(&self, head: &VerifiedHead, at: i64) -> Result<(), String> {
        let serial = head.serial();
        let fork =
            |known: &VerifiedFacts| known.serial == serial && known.state_root != head.state_root();
        if self
            .heads
            .iter()
            .filter_map(|known| known.verified.as_ref())
            .any(fork)
        {
            return Err(format!(
                "there are two heads of serial {serial} with different states"
            ));
        }
        // Decisions overlap: one made by the older configuration may be recorded a moment later.
        let overlapped_until = at.saturating_sub(RECORDING_SECONDS);
        match (self.replaced_at(serial), self.newest_serial) {
            (Some(replaced), Some(newest)) if overlapped_until > replaced => {
                return Err(format!("serial {serial} is recorded after serial {newest}"));
            }
            _ => {}
        }
        // An old publication can be proven under a new checkpoint, and takes back what came since.
        let index = head.index();
        let newer = self.heads_where(|facts| facts.index > index);
        let newer = newer.filter(|known| overlapped_until > known.recorded_at);
        match newer
            .filter_map(|known| known.verified)
            .map(|facts| facts.index)
            .max()
        {
            Some(newest) => Err(format!(
                "serial {serial} names publication {index}, recorded after publication {newest}"
            )),
            None => Ok(()),
        }
    }

    /// When a head with a higher serial was first recorded.
    fn replaced_at(&self, serial: u64) -> Option<i64> {
        let newer = self.heads_where(|facts| facts.serial > serial);
        newer.map(|known| known.recorded_at).min()
    }

    fn heads_where(
        &self,
        asked: impl Fn(&VerifiedFacts) -> bool,
    ) -> impl Iterator<Item = &RecordedHead> {
        let is_asked = move |known: &&RecordedHead| known.verified.as_ref().is_some_and(&asked);
        self.heads.iter().filter(is_asked)
    }

    fn remember(&mut self, head: &VerifiedHead, at: i64) {
        let facts = VerifiedFacts {
            serial: head.serial(),
            index: head.index(),
            state_root: head.state_root(),
            expires_at: head.publication().expires_at,
        };
        self.newest_serial = self.newest_serial.max(Some(facts.serial));
        self.remember_state(facts.state_root, Some(head.publication().state_size));
        self.remember_head(head.digest(), at, Some(facts));
    }

    /// A head that nobody can rely on is remembered, so that what names it is not blamed for it.
    fn remember_unverified(&mut self, encoded: &Bytes, at: i64) {
        if let Some(root) = claimed_state_root(encoded) {
            self.remember_state(root, None);
        }
        self.remember_head(Digest::of(encoded), at, None);
    }

    fn remember_head(&mut self, digest: Digest, recorded_at: i64, verified: Option<VerifiedFacts>) {
        if self.heads.iter().any(|known| known.digest == digest) {
            return;
        }
        if self.heads.len() == HEADS {
            self.heads.pop_front();
        }
        self.heads.push_back(RecordedHead {
            digest,
            recorded_at,
            verified,
        });
    }

    /// Puts a state last, with what was proven under it before.
    fn remember_state(&mut self, root: Digest, size: Option<u64>) {
        let known = self.states.iter().position(|state| state.root() == root);
        let mut state = known
            .and_then(|position| self.states.remove(position))
            .unwrap_or_else(|| ProvenState::new(root, None));
        state.published(size);
        if self.states.len() == STATES {
            self.states.pop_front();
        }
        self.states.push_back(state);
    }
}

/// The state root in a head that nobody has verified.
fn claimed_state_root(encoded: &Bytes) -> Option<Digest> {
    let head = Head::decode(encoded.clone()).ok()?;
    match Entry::decode(head.entry).ok()?.body? {
        Body::Publication(publication) => Digest::from_slice(&publication.state_root),
        Body::Changes(_) => None,
    }
}
