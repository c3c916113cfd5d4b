//! A disk in memory for tests: it keeps what POSIX promises and no more, and fails where it is told.

mod disk;
mod matrix;
mod node;

pub use disk::{Disk, Fault, Operation, Restart};
pub use matrix::{Cells, every_fault};
