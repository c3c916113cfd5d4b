//! How commands say what they found: in words for people, in JSON for machines.

use serde::Serialize;

/// What a command has to say.
pub struct Outcome {
    /// For standard output.
    pub text: String,
    /// Whether it is good news: the exit code says so too.
    pub holds: bool,
}

impl Outcome {
    pub(super) const fn good(text: String) -> Self {
        Self { text, holds: true }
    }
}

pub(super) fn in_json(value: &impl Serialize) -> String {
    // Everything that is printed has names and values that JSON has.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn in_utc(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds);
    time.map_or_else(
        |_| format!("{seconds} s after 1970"),
        |time| time.to_string(),
    )
}

/// Whole days from one time to another, rounded down.
pub(super) const fn days(from: i64, to: i64) -> i64 {
    to.saturating_sub(from).div_euclid(86_400)
}
