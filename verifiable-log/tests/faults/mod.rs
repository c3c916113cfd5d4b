//! A log on a simulated disk, its files by their names in the folder of the log.
#![allow(dead_code)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use durable::simulated::Fault;
use durable::simulated::{Disk, Restart};
use verifiable_log::Storage;

const FOLDER: &str = "/log";

/// The disk that a log is on; clones are the same one.
#[derive(Clone, Default)]
pub struct Faulty(pub Disk);

impl Faulty {
    /// The folder of the log on it.
    pub fn storage(&self) -> Arc<Storage> {
        Arc::new(Storage::new(Arc::new(self.0.clone()), Path::new(FOLDER)))
    }

    /// Lets the call that comes after `after` others meet a fault.
    pub fn arm(&self, after: u64, fault: Fault) {
        self.0.arm(after as usize, fault);
    }

    pub fn triggered(&self) -> bool {
        self.0.has_met_fault()
    }

    /// The power is cut now.
    pub fn crash(&self) {
        self.0.stop();
    }

    /// The machine starts again with all that was synced and some of the rest.
    pub fn restart(&self, seed: u64) {
        self.0.restart(Restart::Some(seed));
    }

    pub fn limit(&self, capacity: Option<u64>) {
        self.0.limit(capacity);
    }

    pub fn used(&self) -> u64 {
        self.0.used()
    }

    pub fn copy(&self) -> Self {
        Self(self.0.copy())
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.0.bytes(path(name)).unwrap()
    }

    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        self.0.put(path(name), bytes);
    }

    pub fn delete(&self, name: &str) {
        self.0.delete(path(name));
    }

    pub fn names(&self) -> Vec<String> {
        let paths = self.0.paths().into_iter();
        let name = |path: PathBuf| Some(path.strip_prefix(FOLDER).ok()?.to_str()?.to_owned());
        paths.filter_map(name).collect()
    }

    pub fn refuse_reads(&self, refuse: bool) {
        self.0.refuse_reads(refuse);
    }

    pub fn hold_syncs(&self) {
        self.0.hold_syncs(".segment");
    }

    pub fn wait_for_sync(&self) {
        self.0.wait_for_sync();
    }

    pub fn release_syncs(&self) {
        self.0.release_syncs();
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}
