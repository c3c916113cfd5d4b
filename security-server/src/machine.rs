//! What a server takes from the machine it runs on, so that a test can put others in their place.

use std::sync::Arc;

use durable::{FileSystem, Posix};

use crate::clock::{SharedClock, SystemClock};

/// A clock and a file system.
#[derive(Clone)]
pub struct Machine {
    /// Tells the time.
    pub clock: SharedClock,
    /// Holds the message log and the kept configuration. Settings, keys, views, sockets and locks
    /// are files of this machine in any case.
    pub files: Arc<dyn FileSystem>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn this() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            files: Arc::new(Posix),
        }
    }
}
