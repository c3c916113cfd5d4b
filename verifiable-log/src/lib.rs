//! Durable, append-only Merkle log; used for messages and for registrations.
//!
//! A log is a folder:
//!
//! ```text
//! identity                         "lienthong log 1", line feed, origin, line feed
//! segments/<first record>.segment  the records; 20 digits; the one truth
//! checkpoint                       the newest checkpoint, a C2SP signed note
//! <segment>.<offset>.torn          bytes that a crash had left, stated by a Torn record; a second
//!                                  time at the same place <segment>.<offset>.2.torn, and so on
//! reserve                          space for closing records when the disk is full
//! erasing                          what is being erased, while it is (`src/erasure.rs`)
//! lock                             held by the one process that writes
//! views/                           derived, never needed: places, hashes.0, hashes.8, ...
//! .*.new                           files being made when a crash came; removed at opening
//! ```
//!
//! A segment is made whole, with real zeros to its end, and synced with its folder before use: a
//! header block, then batches. A batch starts at a multiple of 512 bytes and is written only after
//! the one before was synced; it is a header, the frames of its records, and zeros up to the next
//! multiple of 512. It holds no count: it ends where the next header says, be it in this segment
//! or at the head of the next one. Behind the last batch there are zeros. Each header repeats where
//! the previous batch ended and its hash, so the batches are a chain from the identity on.
//! (The fields are in `src/format.rs`.)
//!
//! So whatever is wrong before the last batch of the last segment is *damage*, never the trace of
//! a crash: the log does not open, and says segment, offset and record. What is wrong in the last
//! batch may be a crash. It is the last one if at no later multiple of 512 stands a header with
//! the right checksum and this segment's random id that says the previous batch ended in the block
//! before it. Then it is cut at its first bad frame, or at its start if no frame is whole; the
//! bytes are kept in a `.torn` file, zeros are written, and a record of kind `TORN` states
//! segment, offset, length and SHA-256 (`src/torn.rs`). If a stored checkpoint has more records
//! than would be left, nothing is touched and the log does not open.
//!
//! [`Log`] is the one writer; [`Reader`] reads beside it, trusts nothing, and needs no views. An
//! [`Index`] finds records by keys for those who read; it is kept in a folder of its own.

mod erasure;
mod error;
mod files;
mod flat;
mod following;
mod format;
mod index;
mod log;
mod opening;
mod options;
mod proofs;
mod queue;
mod reader;
mod record;
mod scan;
mod segments;
mod shared;
mod storage;
mod torn;
mod views;
mod waiting;
mod walk;
mod window;
mod writer;

pub use error::{AppendError, Damage, EraseError, Error, Fault, InvalidRecord};
pub use index::{Index, Indexing, KeysOf};
pub use log::Log;
pub use opening::Progress;
pub use options::{AnnexOf, Options, SegmentIdOf};
pub use queue::let_others_come;
pub use reader::{End, ReadRecord, Reader, Reading};
pub use record::{
    KeptPart, LeafOf, MAX_ANNEX, MAX_CONTENT, MAX_HEADER, MAX_SIGNATURE, RawRecord, Receipt,
    Record, leaf_of_local_record,
};
pub use scan::Scan;
pub use storage::Storage;
pub use torn::TornFile;
pub use views::ViewKey;
