//! Offline checks of message logs and evidence containers.
//!
//! [`audit`] reads a whole log, without network and without trust in whoever kept it: the anchor
//! is the only root of trust. It tells what was checked, how often, and what did not hold.
//! [`listing`] and [`show`] find and print what a log says, without verifying it.

mod ahead;
mod audit;
mod certificates;
mod check;
pub mod command_line;
mod configuration;
mod container;
mod contents;
mod decisions;
mod exchanges;
mod files;
mod keys;
pub mod listing;
mod local_records;
mod messages;
pub mod outline;
mod peer_logs;
mod printable;
pub mod reconciliation;
mod records;
mod registered;
mod report;
mod rights;
mod roots;
pub mod show;
mod table;
mod times;
mod tree;

pub use audit::{NotAudited, audit};
pub use check::{Check, Subject};
pub use container::{archive::NotRead, export::NotExported, verification::verify};
pub use report::{FINDINGS_LIMIT, Facts, Finding, Place, Report, Tally};
pub use times::RECORDING_SECONDS;
