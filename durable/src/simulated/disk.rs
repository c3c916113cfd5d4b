//! The simulated disk: a file system whose calls are counted, and meet a fault where a test says.

use std::{
    ffi::{OsStr, OsString},
    io::{self, IoSlice},
    path::{Component, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    file_system::{Access, Entry, File, FileSystem},
    simulated::node::{FileNode, FolderNode, Naming, Node, Number, joined},
    writing::folder_of,
};

/// What happens at the call that a test has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect. After a sync that fails so, what was not kept is still read, and
    /// no later sync keeps it.
    FailAndNotPersist,
    /// It fails although all of it was done and survives.
    FailButPersist,
    /// It fails for lack of space and has no effect.
    Full,
    /// It fails for lack of space although all of it was done and survives.
    FullButPersist,
    /// Half of a write is done, and it says so.
    Part,
    /// Half of a write is done, then it fails.
    PartThenFail,
    /// Nothing works from then on; the call was not carried out.
    StopBefore,
    /// Nothing works from then on; the call was carried out.
    StopAfter,
}

impl Fault {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::FailAndNotPersist,
        Self::FailButPersist,
        Self::Full,
        Self::FullButPersist,
        Self::Part,
        Self::PartThenFail,
        Self::StopBefore,
        Self::StopAfter,
    ];

    /// Whether a call can meet it.
    #[must_use]
    pub const fn concerns(self, operation: &Operation) -> bool {
        match self {
            Self::Part | Self::PartThenFail => matches!(operation, Operation::Write(_)),
            Self::Full | Self::FullButPersist => {
                !matches!(operation, Operation::Remove(_) | Operation::SyncFolder(_))
            }
            _ => true,
        }
    }

    const fn stops(self) -> bool {
        matches!(self, Self::StopBefore | Self::StopAfter)
    }
}

/// A call that changes something, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "named as the methods of the file system and its files"
)]
pub enum Operation {
    Create(PathBuf),
    Rename(PathBuf),
    Link(PathBuf),
    Remove(PathBuf),
    MakeFolder(PathBuf),
    SyncFolder(PathBuf),
    Write(PathBuf),
    Allocate(PathBuf),
    Sync(PathBuf),
}

/// What is left when a process starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Only the process ended: all that was done is there, though it need not survive.
    Process,
    /// The power was cut, and nothing survived but what was synced.
    Synced,
    /// The power was cut, and everything survived.
    Everything,
    /// The power was cut, and of what was not synced some survived, by the seed.
    Some(u64),
}

/// A disk in memory; clones are the same one. It begins with the folder `/`, and counts calls that
/// change something.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    changed: Arc<Condvar>,
}

#[derive(Clone)]
struct State {
    nodes: Vec<Node>,
    operations: Vec<Operation>,
    fault: Option<(usize, Fault)>,
    met: bool,
    stopped: bool,
    /// Files that were opened before the last restart belong to a process that is gone.
    starts: u32,
    capacity: Option<u64>,
    refuse_reads: bool,
    /// What the names of files end with whose syncs wait.
    hold_syncs: Option<String>,
    waiting_syncs: u32,
}

const ROOT: Number = 0;

impl Default for Disk {
    fn default() -> Self {
        Self::of(State {
            nodes: vec![Node::Folder(FolderNode::default())],
            operations: Vec::new(),
            fault: None,
            met: false,
            stopped: false,
            starts: 0,
            capacity: None,
            refuse_reads: false,
            hold_syncs: None,
            waiting_syncs: 0,
        })
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
        state.starts += 1;
        let mut random = Random(match restart {
            Restart::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        });
        let mut chance: Box<dyn FnMut() -> bool> = match restart {
            Restart::Process => return,
            Restart::Synced => Box::new(|| false),
            Restart::Everything => Box::new(|| true),
            Restart::Some(_) => Box::new(move || random.next().is_multiple_of(2)),
        };
        for node in &mut state.nodes {
            match node {
                Node::File(file) => file.cut_power(&mut *chance),
                Node::Folder(folder) => folder.cut_power(&mut *chance),
            }
        }
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

    fn of(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &State, path: &Path, number: Number) -> Box<dyn File> {
        Box::new(OpenFile {
            disk: self.clone(),
            path: path.to_owned(),
            number,
            start: state.starts,
        })
    }
}

impl FileSystem for Disk {
    fn open(&self, path: &Path, _: Access) -> io::Result<Box<dyn File>> {
        let mut state = self.locked();
        state.must_run()?;
        let number = state.find(path)?;
        state.file(number)?;
        Ok(self.handle(&state, path, number))
    }

    fn create(&self, path: &Path, _: u32) -> io::Result<Box<dyn File>> {
        let mut state = self.locked();
        let number = state.operate(Operation::Create(path.to_owned()), |state| {
            state.add_named(path, Node::File(FileNode::default()))
        })?;
        Ok(self.handle(&state, path, number))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.locked()
            .operate(Operation::Rename(to.to_owned()), |state| {
                let number = state.find(from)?;
                if state.find(to).is_ok_and(|same| same == number) {
                    // POSIX: two names of one file both stay.
                    return Ok(());
                }
                let (old, new) = (name_of(from)?, name_of(to)?);
                if folder_of(from) == folder_of(to) {
                    let naming = vec![(old, None), (new, Some(number))];
                    state.folder(folder_of(to))?.change(naming);
                    return Ok(());
                }
                state.name(to, Some(number))?;
                state.name(from, None)
            })
    }

    fn link(&self, existing: &Path, name: &Path) -> io::Result<()> {
        self.locked()
            .operate(Operation::Link(name.to_owned()), |state| {
                let number = state.find(existing)?;
                state
                    .folder(folder_of(name))?
                    .must_not_have(&name_of(name)?)?;
                state.name(name, Some(number))
            })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.locked()
            .operate(Operation::Remove(path.to_owned()), |state| {
                let number = state.find(path)?;
                state.file(number)?;
                state.name(path, None)
            })
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.locked()
            .operate(Operation::MakeFolder(path.to_owned()), |state| {
                let folder = Node::Folder(FolderNode::default());
                state.add_named(path, folder).map(drop)
            })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.locked();
        state.must_run()?;
        let names = state.folder(folder)?.current.clone();
        let entry = |(name, number): (OsString, Number)| Entry {
            name,
            is_folder: matches!(state.nodes.get(number), Some(Node::Folder(_))),
        };
        Ok(names.into_iter().map(entry).collect())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.locked()
            .operate(Operation::SyncFolder(folder.to_owned()), |state| {
                state.sync_folder(folder)
            })
    }
}

struct OpenFile {
    disk: Disk,
    path: PathBuf,
    number: Number,
    start: u32,
}

impl OpenFile {
    /// The disk, unless it was started again since the file was opened.
    fn locked(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.locked();
        state.must_run()?;
        if state.starts != self.start {
            return Err(io::Error::other(
                "the process that opened this file has ended",
            ));
        }
        Ok(state)
    }
}

impl File for OpenFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.locked()?.file(self.number)?.current.len() as u64)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.locked()?;
        if state.refuse_reads {
            return Err(io::Error::other("nothing can be read"));
        }
        let current = &state.file(self.number)?.current;
        let from = current
            .len()
            .min(usize::try_from(offset).unwrap_or(usize::MAX));
        let there = current.get(from..).unwrap_or_default();
        let length = buffer.len().min(there.len());
        for (to, from) in buffer.iter_mut().zip(there) {
            *to = *from;
        }
        Ok(length)
    }

    fn write(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut bytes = joined(parts);
        let mut state = self.locked()?;
        let fault = state.count(Operation::Write(self.path.clone()))?;
        if let Some(Fault::Part | Fault::PartThenFail) = fault {
            bytes.truncate(bytes.len() / 2);
        }
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        state.carry_out(fault, |state| {
            state.must_fit(self.number, from + bytes.len())?;
            state.file(self.number)?.write(&bytes, from);
            Ok(bytes.len())
        })
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.locked()?
            .operate(Operation::Allocate(self.path.clone()), |state| {
                state.must_fit(self.number, length)?;
                state.file(self.number)?.allocated = length;
                Ok(())
            })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.locked()?;
        let path = self.path.to_string_lossy();
        let is_held = |state: &mut State| {
            let ending = state.hold_syncs.as_ref();
            ending.is_some_and(|ending| path.ends_with(ending))
        };
        if is_held(&mut state) {
            state.waiting_syncs += 1;
            self.disk.changed.notify_all();
            let held = self.disk.changed.wait_while(state, is_held);
            state = held.unwrap_or_else(PoisonError::into_inner);
            state.waiting_syncs -= 1;
        }
        let fault = state.count(Operation::Sync(self.path.clone()))?;
        if let Some(Fault::FailAndNotPersist | Fault::Full) = fault {
            state.file(self.number)?.fail_to_sync();
        }
        state.carry_out(fault, |state| {
            state.file(self.number)?.sync();
            Ok(())
        })
    }
}

impl State {
    fn must_run(&self) -> io::Result<()> {
        if self.stopped {
            return Err(io::Error::other("everything has stopped"));
        }
        Ok(())
    }

    fn operate<T>(
        &mut self,
        operation: Operation,
        change: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let fault = self.count(operation)?;
        self.carry_out(fault, change)
    }

    /// Counts a call, and says which fault it meets.
    fn count(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        self.must_run()?;
        let number = self.operations.len();
        self.operations.push(operation);
        let fault = self.fault.filter(|(at, _)| *at == number);
        self.met |= fault.is_some();
        Ok(fault.map(|(_, fault)| fault))
    }

    fn carry_out<T>(
        &mut self,
        fault: Option<Fault>,
        change: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let Some(fault) = fault else {
            return change(self);
        };
        let done = match fault {
            Fault::FailAndNotPersist | Fault::Full | Fault::StopBefore => None,
            _ => Some(change(self)),
        };
        if let Fault::FailButPersist | Fault::FullButPersist = fault {
            self.sync_everything();
        }
        self.stopped |= fault.stops();
        match (fault, done) {
            (Fault::Part, Some(done)) => done,
            (Fault::Full | Fault::FullButPersist, _) => Err(io::ErrorKind::StorageFull.into()),
            _ => Err(io::Error::other(format!("{fault:?}"))),
        }
    }

    fn sync_everything(&mut self) {
        for node in &mut self.nodes {
            match node {
                Node::File(file) => file.sync(),
                Node::Folder(folder) => folder.sync(),
            }
        }
    }

    fn add(&mut self, node: Node) -> Number {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn add_named(&mut self, path: &Path, node: Node) -> io::Result<Number> {
        self.folder(folder_of(path))?
            .must_not_have(&name_of(path)?)?;
        let number = self.add(node);
        self.name(path, Some(number))?;
        Ok(number)
    }

    fn name(&mut self, path: &Path, number: Option<Number>) -> io::Result<()> {
        let naming: Naming = vec![(name_of(path)?, number)];
        self.folder(folder_of(path))?.change(naming);
        Ok(())
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.folder(folder)?.sync();
        Ok(())
    }

    fn find(&mut self, path: &Path) -> io::Result<Number> {
        let mut number = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                number = self.folder_numbered(number)?.number(name)?;
            }
        }
        Ok(number)
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut FolderNode> {
        let number = self.find(path)?;
        self.folder_numbered(number)
    }

    fn folder_numbered(&mut self, number: Number) -> io::Result<&mut FolderNode> {
        match self.nodes.get_mut(number) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn file(&mut self, number: Number) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(number) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// All files that have a name.
    fn files(&self) -> Vec<(PathBuf, Number)> {
        let mut found = Vec::new();
        let mut left = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, number)) = left.pop() {
            match self.nodes.get(number) {
                Some(Node::Folder(folder)) => {
                    let below = folder.current.iter();
                    left.extend(below.map(|(name, number)| (path.join(name), *number)));
                }
                Some(Node::File(_)) => found.push((path, number)),
                None => {}
            }
        }
        found
    }

    fn used(&self) -> u64 {
        let mut numbers: Vec<_> = self.files().into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let size = |number| match self.nodes.get(number) {
            Some(Node::File(file)) => file.current.len().max(file.allocated) as u64,
            _ => 0,
        };
        numbers.into_iter().map(size).sum()
    }

    fn must_fit(&mut self, number: Number, length: usize) -> io::Result<()> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        let file = self.file(number)?;
        let held = file.current.len().max(file.allocated);
        if self.used() + length.saturating_sub(held) as u64 > capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn name_of(path: &Path) -> io::Result<OsString> {
    let name = path.file_name().map(OsStr::to_owned);
    name.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// Xorshift; only for tests.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 24
    }
}
