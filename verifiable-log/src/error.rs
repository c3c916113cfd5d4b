//! What can be wrong with a log, by name: damage, failures of its storage, refused appends.

use std::{fmt, io, path::PathBuf, sync::Arc};

use trust::checkpoint::{InvalidCheckpoint, Origin};

/// A place in a log where its bytes are not what the log wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment, by the index of its first record.
    pub segment: u64,
    /// Where in the segment.
    pub offset: u64,
    /// The index of the record that stands there, or would.
    pub index: u64,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "segment {:020}, offset {}, record {}: {}",
            self.segment, self.offset, self.index, self.fault
        )
    }
}

impl std::error::Error for Damage {}

/// What is wrong with the bytes at one place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no segment at all, or one is missing before this one.
    #[error("a segment is missing: the next one should start with record {expected}")]
    MissingSegment {
        /// The first record of the segment that should be there.
        expected: u64,
    },
    /// The header of the segment is not as written.
    #[error("the segment header is damaged: {0}")]
    SegmentHeader(&'static str),
    /// The file was cut or has grown.
    #[error("the segment file has {found} bytes and was made with {expected}")]
    SegmentLength {
        /// The length in its header.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// The header of the batch is not as written.
    #[error("the batch header is damaged: {0}")]
    BatchHeader(&'static str),
    /// A whole header contradicts what was read before it.
    #[error("{0} is not what this header says came before it")]
    Chain(&'static str),
    /// A batch without a record.
    #[error("the batch has no record")]
    EmptyBatch,
    /// The bytes between a batch and the next boundary are not zero.
    #[error("the padding is not zero")]
    Padding,
    /// There are bytes where nothing was written.
    #[error("there are bytes after the last batch")]
    BytesAfterEnd,
    /// The frame is not as written.
    #[error("the frame is damaged: {0}")]
    Frame(&'static str),
    /// The checksum of header, signature and annex.
    #[error("header, signature or annex are damaged: their checksum is wrong")]
    KeptChecksum,
    /// The checksum of the content.
    #[error("the content is damaged: its checksum is wrong")]
    ContentChecksum,
    /// There are zeros in place of the content, and no record says why.
    #[error("the content is gone, and no record says that it was destroyed")]
    ContentGone,
    /// The bytes are as written but say nothing that can be a record.
    #[error("the record is invalid: {0}")]
    Record(InvalidRecord),
}

/// Why a kept part is no record, in the words of whoever knows the kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRecord(pub String);

/// Why a log cannot be created, opened, read or proven.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The file system failed.
    #[error("{doing} failed")]
    Storage {
        /// What was being done, and to which file.
        doing: String,
        /// The failure.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has the log open.
    #[error("another process has this log open for writing")]
    Locked,
    /// There is no log.
    #[error("there is no log here; a log is created explicitly, never when it is opened")]
    Absent,
    /// Something is in the way of a new log.
    #[error("a log cannot be created here: the folder already holds {0}")]
    NotEmpty(String),
    /// The identity file is not as written.
    #[error("the identity of the log is damaged: {0}")]
    Identity(&'static str),
    /// Bytes of the log are damaged before its last batch, or in a way no crash can explain.
    #[error("the log is damaged")]
    Damaged(#[source] Damage),
    /// The stored checkpoint cannot be read, or is of another log.
    #[error("the stored checkpoint is damaged")]
    StoredCheckpoint(#[source] InvalidCheckpoint),
    /// The stored checkpoint is of another log.
    #[error("the stored checkpoint is of log {found}, not of {expected}")]
    ForeignCheckpoint {
        /// The log's origin.
        expected: Origin,
        /// The checkpoint's.
        found: Origin,
    },
    /// Records that were signed are gone.
    #[error("the stored checkpoint has {checkpoint} records, the log only {log}: records are lost")]
    CheckpointAhead {
        /// Size of the checkpoint.
        checkpoint: u64,
        /// Size of the log.
        log: u64,
    },
    /// Records that were signed have changed.
    #[error("the first {size} records do not have the root of the stored checkpoint")]
    CheckpointRoot {
        /// Size of the checkpoint.
        size: u64,
    },
    /// Records have changed since they were written or first read.
    #[error("the {size} records on disk do not have the root that they had")]
    Root {
        /// Size of the log.
        size: u64,
    },
    /// The new checkpoint would not extend the one before.
    #[error("a checkpoint of {new} records would not extend the last one of {last}: not signed")]
    CheckpointNotExtended {
        /// Size of the last checkpoint.
        last: u64,
        /// Size of the new one.
        new: u64,
    },
    /// There is no such record, or no such size.
    #[error("there is no record {index}: the log has {size}")]
    NoRecord {
        /// What was asked for.
        index: u64,
        /// The size of the log.
        size: u64,
    },
    /// A view is wrong or not usable; nothing is lost.
    #[error("a view of the log is not usable ({0}); it is made again when the log is next opened")]
    View(String),
    /// The folder of the index has something else in the index's place.
    #[error(
        "{0} was not made as an index, so nothing in it is touched: move it away, or keep the index \
         in another folder"
    )]
    ForeignIndex(PathBuf),
    /// The log has failed before and appends nothing.
    #[error("the log has failed and must be opened again")]
    Failed(#[source] Arc<Self>),
    /// The writer stopped in the middle of something; what it had written is on disk or is not.
    #[error("the writer of the log has panicked, which is a mistake in the program")]
    WriterStopped,
    /// No random number for a segment's id.
    #[error("the system gives no random numbers")]
    Random,
    /// An option contradicts another one.
    #[error("the options of the log are invalid: {0}")]
    Options(&'static str),
}

impl Error {
    /// Says what was being done when the file system failed.
    pub(crate) fn storage(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Storage {
            doing: doing.into(),
            source: Arc::new(source),
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Storage { source, .. } if is_disk_full(source))
    }
}

/// Whether the disk, or the share of it that this user may fill, is full.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why a record was not appended. No receipt exists for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. Nothing was written; the log goes on when there is room again.
    #[error("the disk is full: the record was not written")]
    DiskFull,
    /// One part of the record, or all of them together, are larger than the log keeps.
    #[error("{part} has {length} bytes, more than the {limit} that the log keeps")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// Its length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// The record contradicts itself: another leaf would be computed when it is read.
    #[error("the record was not written: its leaf cannot be computed from it ({0})")]
    Leaf(String),
    /// The log has failed: whether the record is on disk is unknown.
    #[error("the log has failed: whether the record is on disk is unknown")]
    Failed(#[source] Arc<Error>),
    /// The log is being closed.
    #[error("the log is closed")]
    Closed,
}

/// Why contents were not erased, or whether they were is unknown until the log is opened again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EraseError {
    /// None of the records has content, or ever had.
    #[error("the records from {first} to {last} hold no content")]
    NothingThere {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// There are no such records, or the file system failed.
    #[error(transparent)]
    Log(#[from] Error),
    /// The record that would have said so was not appended.
    #[error("the erasure was not recorded")]
    NotRecorded(#[from] AppendError),
}
