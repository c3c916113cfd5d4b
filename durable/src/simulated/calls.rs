//! The calls of the simulated disk: each counted, and carried out on what the disk holds.

use std::{
    ffi::OsString,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::{MutexGuard, PoisonError},
};

use crate::{
    blocks::BLOCK,
    file_system::{Access, Entry, File, FileSystem},
    simulated::{
        disk::Disk,
        fault::{Fault, Operation},
        node::{FileNode, FolderNode, Node, Number, joined},
        state::{State, name_of},
    },
    writing::folder_of,
};

impl FileSystem for Disk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let mut state = self.locked();
        state.must_run()?;
        let number = state.find(path)?;
        state.file(number)?;
        Ok(handle(self, &state, path, number, access))
    }

    fn create(&self, path: &Path, _: u32) -> io::Result<Box<dyn File>> {
        let mut state = self.locked();
        let number = state.operate(Operation::Create(path.to_owned()), |state| {
            state.add_named(path, Node::File(FileNode::default()))
        })?;
        Ok(handle(self, &state, path, number, Access::Write))
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

fn handle(
    disk: &Disk,
    state: &State,
    path: &Path,
    number: Number,
    access: Access,
) -> Box<dyn File> {
    Box::new(OpenFile {
        access,
        disk: disk.clone(),
        path: path.to_owned(),
        number,
        start: state.starts,
    })
}

/// Whether a disk could read these out of memory by itself.
fn are_blocks(parts: &[IoSlice<'_>], offset: u64) -> bool {
    offset.is_multiple_of(BLOCK as u64)
        && parts.iter().all(|part| {
            part.len().is_multiple_of(BLOCK) && (part.as_ptr() as usize).is_multiple_of(BLOCK)
        })
}

struct OpenFile {
    access: Access,
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
        let in_blocks = self.access == Access::Blocks;
        if in_blocks && !are_blocks(parts, offset) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.locked()?;
        let fault = state.count(Operation::Write(self.path.clone()))?;
        if let Some(Fault::Part | Fault::PartThenFail) = fault {
            let half = bytes.len() / 2;
            bytes.truncate(if in_blocks {
                half.next_multiple_of(BLOCK)
            } else {
                half
            });
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
