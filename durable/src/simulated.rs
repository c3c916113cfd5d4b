//! A disk in memory for tests: it keeps what POSIX promises and no more, and fails where it is told.

mod calls;
mod disk;
mod fault;
mod matrix;
mod node;
mod state;

pub use disk::Disk;
pub use fault::{Fault, Operation, Restart};
pub use matrix::{Cells, every_fault};
