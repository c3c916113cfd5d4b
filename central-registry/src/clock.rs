//! The clock: an argument everywhere, so that tests can move it.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Tells the time; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn of_the_machine() -> Self {
        Self::new(machine_time)
    }

    /// A clock that gives what `milliseconds` gives: milliseconds since 1970 (UTC).
    pub fn new(milliseconds: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(milliseconds))
    }

    /// Milliseconds since 1970 (UTC).
    #[must_use]
    pub fn milliseconds(&self) -> i64 {
        (self.0)()
    }

    /// Whole seconds since 1970 (UTC).
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.milliseconds().div_euclid(1000)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({} ms)", self.milliseconds())
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the one place where this program asks for the time"
)]
fn machine_time() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
