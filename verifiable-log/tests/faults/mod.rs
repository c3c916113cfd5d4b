//! A storage in memory that crashes, fails, fills up and waits as a test asks.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    io::{self, IoSlice, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use verifiable_log::{Storage, StoredFile};

/// What a disk writes whole.
const SECTOR: usize = 512;

/// What happens at the operation that a test has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine stops: nothing works until [`Faulty::restart`].
    Crash,
    /// The operation fails and has no effect.
    FailAndNotPersist,
    /// The operation fails although all of it was done and survives.
    FailButPersist,
    /// The same, and the failure is a lack of space.
    FullButPersist,
    /// Half of a write is done, then it fails. Other operations fail.
    Short,
}

/// The storage; clones are the same one.
#[derive(Clone, Default)]
pub struct Faulty {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Clone, Default)]
struct State {
    files: BTreeMap<String, Contents>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    triggered: bool,
    crashed: bool,
    capacity: Option<u64>,
    random: u64,
    refuse_reads: bool,
    hold_syncs: bool,
    waiting_syncs: u32,
}

#[derive(Clone, Default)]
struct Contents {
    /// What survives a crash for certain.
    durable: Vec<u8>,
    /// What is read, and of which any sectors may survive.
    current: Vec<u8>,
}

impl Faulty {
    /// Lets the operation that comes after `after` others meet a fault.
    pub fn arm(&self, after: u64, fault: Fault) {
        let mut state = self.locked();
        state.fault = Some((state.operations + after, fault));
        state.triggered = false;
    }

    /// Whether the fault has happened.
    pub fn triggered(&self) -> bool {
        self.locked().triggered
    }

    /// The machine stops now.
    pub fn crash(&self) {
        self.locked().crashed = true;
    }

    /// The machine starts again with what a disk may hold: all that was synced, and of the rest
    /// any sectors, chosen by the seed.
    pub fn restart(&self, seed: u64) {
        let mut state = self.locked();
        state.random = seed | 1;
        let mut files = std::mem::take(&mut state.files);
        for file in files.values_mut() {
            let sectors = file
                .durable
                .chunks_mut(SECTOR)
                .zip(file.current.chunks(SECTOR));
            for (durable, current) in sectors {
                if durable != current && state.chance() {
                    durable.copy_from_slice(current);
                }
            }
            file.current.clone_from(&file.durable);
        }
        state.files = files;
        (state.crashed, state.fault, state.triggered) = (false, None, false);
    }

    /// Limits the sum of all files.
    pub fn limit(&self, capacity: Option<u64>) {
        self.locked().capacity = capacity;
    }

    /// The sum of all files.
    pub fn used(&self) -> u64 {
        self.locked().used()
    }

    /// A storage of its own with the same files.
    pub fn copy(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(self.locked().clone())),
            changed: Arc::default(),
        }
    }

    /// The bytes of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        self.locked().files[name].current.clone()
    }

    /// Puts other bytes in place of a file, as somebody else would.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let contents = Contents {
            durable: bytes.clone(),
            current: bytes,
        };
        self.locked().files.insert(name.to_owned(), contents);
    }

    pub fn delete(&self, name: &str) {
        self.locked().files.remove(name);
    }

    pub fn names(&self) -> Vec<String> {
        self.locked().files.keys().cloned().collect()
    }

    /// Lets reading fail for a while.
    pub fn refuse_reads(&self, refuse: bool) {
        self.locked().refuse_reads = refuse;
    }

    /// Lets every sync wait until it is released.
    pub fn hold_syncs(&self) {
        self.locked().hold_syncs = true;
    }

    /// Blocks until a sync waits.
    pub fn wait_for_sync(&self) {
        let state = self.locked();
        let waiting = self
            .changed
            .wait_while(state, |state| state.waiting_syncs == 0);
        drop(waiting.unwrap());
    }

    pub fn release_syncs(&self) {
        self.locked().hold_syncs = false;
        self.changed.notify_all();
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.current.len() as u64)
            .sum()
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn chance(&mut self) -> bool {
        self.random() % 100 < 50
    }

    fn must_run(&self) -> io::Result<()> {
        if self.crashed {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok(())
    }

    /// Counts an operation that changes something, and says which fault it meets.
    fn operation(&mut self) -> io::Result<Option<Fault>> {
        self.must_run()?;
        let number = self.operations;
        self.operations += 1;
        let met = self
            .fault
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        if let Some(fault) = met {
            self.triggered = true;
            self.crashed = fault == Fault::Crash;
        }
        Ok(met)
    }
}

fn failed(fault: Fault) -> io::Error {
    if fault == Fault::FullButPersist {
        return io::ErrorKind::StorageFull.into();
    }
    io::Error::other(format!("{fault:?}"))
}

impl Storage for Faulty {
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.locked();
        state.must_run()?;
        let names = state
            .files
            .keys()
            .filter_map(|name| match name.rsplit_once('/') {
                Some((parent, name)) => (parent == folder).then_some(name),
                None => folder.is_empty().then_some(name),
            });
        Ok(names.map(str::to_owned).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StoredFile>> {
        let state = self.locked();
        state.must_run()?;
        if !state.files.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Box::new(Open {
            storage: self.clone(),
            name: name.to_owned(),
        }))
    }

    fn create(&self, name: &str, contents: &mut dyn Read, length: u64) -> io::Result<()> {
        let mut bytes = Vec::new();
        contents.read_to_end(&mut bytes)?;
        bytes.resize(bytes.len().max(length as usize), 0);
        let unfinished = format!("{name}.new");

        let mut state = self.locked();
        let fault = state.operation()?;
        let full = state
            .capacity
            .is_some_and(|capacity| state.used() + bytes.len() as u64 > capacity);
        if full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(fault) = fault {
            // Something of the unfinished file may be there.
            let part = state.random() as usize % (bytes.len() + 1);
            bytes.truncate(part);
            drop(state);
            self.replace(&unfinished, bytes);
            return Err(failed(fault));
        }
        let renamed = state.operation()?;
        drop(state);
        match renamed {
            Some(fault @ (Fault::FailAndNotPersist | Fault::Short)) => {
                self.replace(&unfinished, bytes);
                Err(failed(fault))
            }
            Some(fault) => {
                let done = fault != Fault::Crash || self.locked().chance();
                self.replace(if done { name } else { &unfinished }, bytes);
                Err(failed(fault))
            }
            None => {
                self.replace(name, bytes);
                Ok(())
            }
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.locked();
        let fault = state.operation()?;
        let done = match fault {
            None | Some(Fault::FailButPersist | Fault::FullButPersist) => true,
            Some(Fault::Crash) => state.chance(),
            Some(_) => false,
        };
        if done {
            state.files.remove(name);
        }
        fault.map_or(Ok(()), |fault| Err(failed(fault)))
    }
}

struct Open {
    storage: Faulty,
    name: String,
}

impl StoredFile for Open {
    fn length(&self) -> io::Result<u64> {
        let state = self.storage.locked();
        state.must_run()?;
        Ok(state.files[&self.name].current.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.storage.locked();
        state.must_run()?;
        if state.refuse_reads {
            return Err(io::Error::other("nothing can be read"));
        }
        let current = &state.files[&self.name].current;
        let from = current.len().min(offset as usize);
        let length = buffer.len().min(current.len() - from);
        buffer[..length].copy_from_slice(&current[from..from + length]);
        Ok(length)
    }

    fn write_at(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        let mut state = self.storage.locked();
        let fault = state.operation()?;
        match fault {
            Some(Fault::FailAndNotPersist) => bytes.clear(),
            Some(Fault::Short) => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
        let file = state.files.get_mut(&self.name).unwrap();
        let from = offset as usize;
        file.current[from..from + bytes.len()].copy_from_slice(&bytes);
        if let Some(Fault::FailButPersist | Fault::FullButPersist) = fault {
            file.durable.clone_from(&file.current);
        }
        fault.map_or(Ok(()), |fault| Err(failed(fault)))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.storage.locked();
        if state.hold_syncs {
            state.waiting_syncs += 1;
            self.storage.changed.notify_all();
            let held = self
                .storage
                .changed
                .wait_while(state, |state| state.hold_syncs);
            state = held.unwrap();
            state.waiting_syncs -= 1;
        }
        let fault = state.operation()?;
        let done = Some(Fault::FailButPersist) == fault || Some(Fault::FullButPersist) == fault;
        if done || fault.is_none() {
            let file = state.files.get_mut(&self.name).unwrap();
            file.durable.clone_from(&file.current);
        }
        fault.map_or(Ok(()), |fault| Err(failed(fault)))
    }
}
