//! The simulated disk as a test has it: armed with a fault, stopped, started again, looked at.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    simulated::{
        fault::{Fault, Operation, Restart},
        node::{FileNode, Node},
        state::State,
    },
    writing::folder_of,
};

/// A disk in memory; clones are the same one. It begins with the folder `/`, and counts calls that
/// change something.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    pub(super) changed: Arc<Condvar>,
}

impl Default for Disk {
    fn default() -> Self {
        Self::of(State::default())
    }
}

/// What a test does to it.
impl Disk {
    /// Lets the call that comes after `after` others meet a fault.
    pub fn arm(&self, after: usize, fault: Fault) {
        let mut state = self.locked();
        state.fault = Some((state.operations.len() + after, fault));
        state.met = false;
    }

    /// Whether the fault has happened.
    #[must_use]
    pub fn has_met_fault(&self) -> bool {
        self.locked().met
    }

    /// Lets nothing work any more, until it is started again.
    pub fn stop(&self) {
        self.locked().stopped = true;
    }

    /// Starts again, without any fault.
    pub fn restart(&self, restart: Restart) {
        let mut state = self.locked();
        (state.stopped, state.fault, state.met) = (false, None, false);
        state.start_again(restart);
    }

    /// The calls so far that change something.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.locked().operations.clone()
    }

    /// Limits the sum of all files.
    pub fn limit(&self, capacity: Option<u64>) {
        self.locked().capacity = capacity;
    }

    /// The sum of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.locked().used()
    }

    /// A disk of its own with the same files, on which nothing was done yet.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = self.locked().clone();
        state.operations.clear();
        Self::of(state)
    }

    /// The bytes of a file; none if it is not there.
    #[must_use]
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let mut state = self.locked();
        let number = state.find(path.as_ref()).ok()?;
        state.file(number).ok().map(|file| file.current.clone())
    }

    /// Puts other bytes in place of a file, as somebody else would; they survive.
    pub fn put(&self, path: impl AsRef<Path>, bytes: Vec<u8>) {
        let mut state = self.locked();
        let number = state.add(Node::File(FileNode::durable(bytes)));
        // A folder that is not there is seen by whoever looks for the file.
        state.name(path.as_ref(), Some(number)).ok();
        state.sync_folder(folder_of(path.as_ref())).ok();
    }

    /// Removes a file, as somebody else would; it stays removed.
    pub fn delete(&self, path: impl AsRef<Path>) {
        let mut state = self.locked();
        state.name(path.as_ref(), None).ok();
        state.sync_folder(folder_of(path.as_ref())).ok();
    }

    /// The paths of all files, sorted.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let state = self.locked();
        let mut found: Vec<_> = state.files().into_iter().map(|(path, _)| path).collect();
        found.sort_unstable();
        found
    }

    /// Lets reading fail for a while.
    pub fn refuse_reads(&self, refuse: bool) {
        self.locked().refuse_reads = refuse;
    }

    /// Lets syncs of files whose names end so wait until they are released.
    pub fn hold_syncs(&self, ending: &str) {
        self.locked().hold_syncs = Some(ending.to_owned());
    }

    /// Blocks until a sync waits.
    pub fn wait_for_sync(&self) {
        let waiting = self
            .changed
            .wait_while(self.locked(), |state| state.waiting_syncs == 0);
        drop(waiting.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets syncs go on.
    pub fn release_syncs(&self) {
        self.locked().hold_syncs = None;
        self.changed.notify_all();
    }

    pub(super) fn of(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
        }
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
