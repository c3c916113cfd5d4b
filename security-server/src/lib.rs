//! The two routes of a security server: consume and provide.
//!
//! [`start::run`] is the whole server; everything else serves it. The routes are in `consume.rs`
//! and `provide.rs`, their stages in `stage/`.

mod admin;
mod call;
mod certificates;
mod client_call;
mod clock;
pub mod command_line;
mod connections;
mod consume;
mod counting;
mod crowd;
mod exchange;
mod frames;
#[cfg(fuzzing)]
pub mod fuzzing;
mod gathering;
mod grpc;
mod health;
mod http2;
mod identities;
mod interruption;
mod listen;
mod listeners;
mod local_state;
mod log;
mod machine;
#[cfg(test)]
mod made_up;
mod monitoring;
mod open_files;
mod peer_frames;
mod peer_log;
mod provide;
mod random;
mod recollection;
mod recorder;
mod refusals;
mod retention;
mod server;
mod settings;
mod signer;
mod snapshot;
mod source;
mod stage;
pub mod start;
pub mod state_file;
mod subjects;
mod until;

pub use clock::{Clock, SharedClock, SystemClock};
pub use log::{LogError, create as create_log};
pub use machine::Machine;
pub use settings::{Settings, SettingsError};
