//! Members, subsystems, servers, services; publishes the signed global configuration.
//!
//! The registry's log is the truth: every accepted change and every publication is an entry of
//! it, and the state is the fold of the entries. What is published are static files made from the
//! log, which anyone may carry on: they are verified from the anchor, whoever serves them.
//!
//! - [`initialise`] and [`root_document`] make what a registry begins with, offline.
//! - [`registry`] keeps the log; [`publication`] makes the files; [`serve`] runs both.
//! - [`officer`] is the other side of the administration socket: it reads what is wanted, says
//!   what that changes, signs it and gives it in.

mod administration;
mod blob;
pub mod clock;
pub mod error;
mod http_files;
pub mod initialise;
pub mod officer;
pub mod public_key;
mod publication;
pub mod registry;
mod registry_log;
pub mod root_document;
mod schedule;
pub mod serve;
pub mod settings;

pub use error::Error;
pub use settings::Settings;
