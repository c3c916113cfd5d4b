//! Waiting for something that another process does, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, interval};

use crate::Error;

/// How long anything here may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer, or says what was waited for in vain.
///
/// # Errors
/// When the deadline passes.
pub async fn wait_for<T, F, A>(what: &str, mut ask: F) -> Result<T, Error>
where
    F: FnMut() -> A,
    A: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut turns = interval(Duration::from_millis(10));
    loop {
        turns.tick().await;
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {} seconds in vain: {what}", PATIENCE.as_secs()).into());
        }
    }
}
