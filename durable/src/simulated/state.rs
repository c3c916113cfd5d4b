//! What a simulated disk holds and has been asked for, and how a call is carried out or fails.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path, PathBuf},
};

use crate::{
    simulated::{
        fault::{Fault, Operation, Restart},
        node::{FileNode, FolderNode, Naming, Node, Number},
    },
    writing::folder_of,
};

const ROOT: Number = 0;

#[derive(Clone)]
pub(super) struct State {
    pub(super) nodes: Vec<Node>,
    pub(super) operations: Vec<Operation>,
    pub(super) fault: Option<(usize, Fault)>,
    pub(super) met: bool,
    pub(super) stopped: bool,
    /// Files that were opened before the last restart belong to a process that is gone.
    pub(super) starts: u32,
    pub(super) capacity: Option<u64>,
    pub(super) refuse_reads: bool,
    /// What the names of files end with whose syncs wait.
    pub(super) hold_syncs: Option<String>,
    pub(super) waiting_syncs: u32,
}

impl Default for State {
    fn default() -> Self {
        Self {
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
        }
    }
}

impl State {
    pub(super) fn start_again(&mut self, restart: Restart) {
        self.starts += 1;
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
        for node in &mut self.nodes {
            match node {
                Node::File(file) => file.cut_power(&mut *chance),
                Node::Folder(folder) => folder.cut_power(&mut *chance),
            }
        }
    }

    pub(super) fn must_run(&self) -> io::Result<()> {
        if self.stopped {
            return Err(io::Error::other("everything has stopped"));
        }
        Ok(())
    }

    pub(super) fn operate<T>(
        &mut self,
        operation: Operation,
        change: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let fault = self.count(operation)?;
        self.carry_out(fault, change)
    }

    /// Counts a call, and says which fault it meets.
    pub(super) fn count(&mut self, operation: Operation) -> io::Result<Option<Fault>> {
        self.must_run()?;
        let number = self.operations.len();
        self.operations.push(operation);
        let fault = self.fault.filter(|(at, _)| *at == number);
        self.met |= fault.is_some();
        Ok(fault.map(|(_, fault)| fault))
    }

    pub(super) fn carry_out<T>(
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

    pub(super) fn sync_everything(&mut self) {
        for node in &mut self.nodes {
            match node {
                Node::File(file) => file.sync(),
                Node::Folder(folder) => folder.sync(),
            }
        }
    }

    pub(super) fn add(&mut self, node: Node) -> Number {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn add_named(&mut self, path: &Path, node: Node) -> io::Result<Number> {
        self.folder(folder_of(path))?
            .must_not_have(&name_of(path)?)?;
        let number = self.add(node);
        self.name(path, Some(number))?;
        Ok(number)
    }

    pub(super) fn name(&mut self, path: &Path, number: Option<Number>) -> io::Result<()> {
        let naming: Naming = vec![(name_of(path)?, number)];
        self.folder(folder_of(path))?.change(naming);
        Ok(())
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.folder(folder)?.sync();
        Ok(())
    }

    pub(super) fn find(&mut self, path: &Path) -> io::Result<Number> {
        let mut number = ROOT;
        for part in path.components() {
            if let Component::Normal(name) = part {
                number = self.folder_numbered(number)?.number(name)?;
            }
        }
        Ok(number)
    }

    pub(super) fn folder(&mut self, path: &Path) -> io::Result<&mut FolderNode> {
        let number = self.find(path)?;
        self.folder_numbered(number)
    }

    pub(super) fn folder_numbered(&mut self, number: Number) -> io::Result<&mut FolderNode> {
        match self.nodes.get_mut(number) {
            Some(Node::Folder(folder)) => Ok(folder),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn file(&mut self, number: Number) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(number) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// All files that have a name.
    pub(super) fn files(&self) -> Vec<(PathBuf, Number)> {
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

    pub(super) fn used(&self) -> u64 {
        let mut numbers: Vec<_> = self.files().into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let size = |number| match self.nodes.get(number) {
            Some(Node::File(file)) => file.current.len().max(file.allocated) as u64,
            _ => 0,
        };
        numbers.into_iter().map(size).sum()
    }

    pub(super) fn must_fit(&mut self, number: Number, length: usize) -> io::Result<()> {
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

pub(super) fn name_of(path: &Path) -> io::Result<OsString> {
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
