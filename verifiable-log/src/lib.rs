//! Durable, append-only Merkle log; used for messages and for registrations.

mod durable;
mod error;
mod files;
mod flat;
mod format;
mod log;
mod opening;
mod options;
mod proofs;
mod reader;
mod record;
mod shared;
mod torn;
mod views;
mod walk;
mod window;
mod writer;

pub use durable::{Directory, Storage, StoredFile};
pub use error::{AppendError, Damage, Error, Fault, InvalidRecord};
pub use log::{Log, Scan};
pub use opening::Progress;
pub use options::{AnnexOf, KeysOf, Options, SegmentIdOf};
pub use reader::{End, ReadRecord, Reader, Reading};
pub use record::{
    KeptPart, LeafOf, MAX_ANNEX, MAX_CONTENT, MAX_HEADER, MAX_SIGNATURE, RawRecord, Receipt,
    Record, leaf_of_local_record,
};
pub use torn::TornFile;
pub use views::ViewKey;
