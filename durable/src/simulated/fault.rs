//! What can happen at a call, which calls there are, and what is left afterwards.

use std::path::PathBuf;

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

    pub(super) const fn stops(self) -> bool {
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
