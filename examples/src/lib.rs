//! A whole federation on one machine: the demonstration and the home of the system tests.

pub mod bare_caller;
pub mod benchmark;
pub mod caller;
pub mod container;
pub mod demonstration;
pub mod dice;
pub mod echo;
pub mod exchanges;
pub mod federation;
pub mod folders;
pub mod handmade_provider;
pub mod link;
pub mod message_log;
pub mod mirror;
pub mod newborn;
pub mod peer;
pub mod process;
pub mod registers;
pub mod waiting;

/// What goes wrong here is told to a person or fails a test.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
