//! Offline checks of message logs and evidence containers.
//!
//! [`audit`] reads a whole log, without network and without trust in whoever kept it: the anchor
//! is the only root of trust. It tells what was checked, how often, and what did not hold.

mod audit;
mod certificates;
mod check;
pub mod command_line;
mod configuration;
mod contents;
mod decisions;
mod exchanges;
mod files;
mod local_records;
mod messages;
mod registered;
mod report;
mod rights;
mod roots;
mod table;
mod times;
mod tree;

pub use audit::{NotAudited, audit};
pub use check::{Check, Subject};
pub use report::{FINDINGS_LIMIT, Facts, Finding, Place, Report, Tally};
pub use times::RECORDING_SECONDS;
