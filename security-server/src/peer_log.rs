//! The logs of other servers: what they promised, what they proved, and what we prove of our own.

pub(crate) mod answer;
pub(crate) mod ask;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use trust::{
    checkpoint::Origin,
    peer_log::{Judgement, PeerLog},
    promise::PromisedLeaf,
    wire::evidence::PeerCheckpoint,
};

/// The most promises of one log that are kept in memory until they are proven.
const PROMISES: usize = 64 * 1024;

/// Seconds between records of faults that prove nothing.
const FAULT_SECONDS: i64 = 600;

/// What is known of one log, and how asking it went.
#[derive(Default)]
pub(crate) struct Followed {
    pub(crate) log: PeerLog,
    /// The verdict that was recorded last; empty: none yet.
    pub(crate) verdict: String,
    /// How many times in a row it was asked without an answer.
    unanswered: u32,
    /// When a fault that proves nothing was recorded last, in seconds since 1970 (UTC).
    fault_at: Option<i64>,
}

/// The logs that this server follows, by origin. A promise is accepted only of a log whose key is
/// registered, so there are no more than the configuration has.
#[derive(Default)]
pub(crate) struct PeerLogs {
    followed: Mutex<BTreeMap<Origin, Followed>>,
}

impl PeerLogs {
    /// Takes in a promise whose reply is recorded. Beyond the limit it stays in the log only, and
    /// is asked about after the next start.
    pub(crate) fn promised(&self, promised: &PromisedLeaf) {
        let mut followed = self.lock();
        let log = &mut followed.entry(promised.origin.clone()).or_default().log;
        if log.unproven() < PROMISES {
            log.promised(promised.index, promised.leaf);
        }
    }

    /// Takes in what this server has recorded of a log: what was decided is not asked again.
    pub(crate) fn recall(&self, recorded: &PeerCheckpoint) {
        let Ok(origin) = recorded.origin.parse() else {
            return;
        };
        let mut followed = self.lock();
        let followed = followed.entry(origin).or_default();
        followed.log.recall(recorded);
        followed.verdict.clone_from(&recorded.verdict);
    }

    /// Takes in what was kept of one log.
    pub(crate) fn restore(&self, origin: Origin, log: PeerLog, verdict: String) {
        let followed = Followed {
            log,
            verdict,
            ..Followed::default()
        };
        self.lock().insert(origin, followed);
    }

    /// The logs that have promised something that is not proven.
    fn unproven(&self) -> Vec<Origin> {
        let followed = self.lock();
        let unproven = followed.iter().filter(|(_, of)| of.log.unproven() > 0);
        unproven.map(|(origin, _)| origin.clone()).collect()
    }

    /// The size of the newest checkpoint of a log; 0: there is none.
    pub(crate) fn newest_size(&self, origin: &Origin) -> u64 {
        let followed = self.lock();
        let newest = followed.get(origin).and_then(|of| of.log.newest());
        newest.map_or(0, |newest| newest.size)
    }

    /// What a log has promised from an index on, as much as is asked at once.
    fn indices_from(&self, origin: &Origin, index: u64) -> Vec<u64> {
        let followed = self.lock();
        let followed = followed.get(origin);
        followed.map_or_else(Vec::new, |of| of.log.indices_from(index))
    }

    /// Something of each log, for whoever shows them.
    pub(crate) fn each<T>(&self, of: impl Fn(&Origin, &Followed) -> T) -> Vec<T> {
        let followed = self.lock();
        followed
            .iter()
            .map(|(origin, log)| of(origin, log))
            .collect()
    }

    /// Judges by what is known of a log now.
    fn judge(&self, origin: &Origin, judge: impl FnOnce(&PeerLog) -> Judgement) -> Judgement {
        let mut followed = self.lock();
        judge(&followed.entry(origin.clone()).or_default().log)
    }

    /// Counts an answer, or that there was none; gives how many there were none in a row.
    fn count(&self, origin: &Origin, answered: bool) -> u32 {
        let mut followed = self.lock();
        let followed = followed.entry(origin.clone()).or_default();
        followed.unanswered = if answered {
            0
        } else {
            followed.unanswered.saturating_add(1)
        };
        followed.unanswered
    }

    /// Whether a judgement made at a time in seconds says something that the last recorded one did
    /// not. What proves nothing is recorded seldom, so that nobody fills our disk with it.
    fn is_worth_recording(&self, origin: &Origin, judgement: &Judgement, at: i64) -> bool {
        let mut followed = self.lock();
        let followed = followed.entry(origin.clone()).or_default();
        if judgement.newest.is_some() {
            return !(judgement.kept.is_empty() && judgement.broken.is_empty());
        }
        let is_new = followed.verdict != judgement.verdict();
        let is_due = followed
            .fault_at
            .is_none_or(|last| !(last..last + FAULT_SECONDS).contains(&at));
        if is_new && is_due {
            followed.fault_at = Some(at);
        }
        is_new && is_due
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Origin, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many questions about our own log are worked on at once, since each reads files, and how
/// long others wait.
const PROVING_AT_ONCE: usize = 2;
const PROVING_PATIENCE: Duration = Duration::from_secs(10);

/// Bounds the work of proving our own records to others.
pub(crate) struct Proving(Arc<Semaphore>);

impl Default for Proving {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(PROVING_AT_ONCE)))
    }
}

impl Proving {
    /// A place to work, held until it is dropped; none when there is none in time.
    async fn begin(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.0).acquire_owned();
        timeout(PROVING_PATIENCE, place).await.ok()?.ok()
    }
}
