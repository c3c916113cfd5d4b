//! The binary as an integrator and a caller meet it: commands, calls, and a database that fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod batches;
mod calls;
mod changes;
mod changes_late;
mod changes_tables;
mod columns;
mod commands;
mod confusions;
mod csv;
mod encodings;
mod engines;
mod faults;
mod folded;
mod grants;
mod harness;
mod help;
mod mariadb;
mod mock;
mod monitoring;
mod new;
mod postgresql;
mod provider;
mod reloading;
mod server_faults;
mod server_tls;
mod servers;
mod writes;
mod writes_checked;
