//! Waiting for something that another process does, with a deadline.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, interval, timeout},
};

use crate::Error;

/// How long anything here may take before it counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer, or says what was waited for in vain.
///
/// # Errors
/// When the deadline passes.
pub async fn wait_for<T, F, A>(what: &str, ask: F) -> Result<T, Error>
where
    F: FnMut() -> A,
    A: Future<Output = Option<T>>,
{
    wait_long_for(what, PATIENCE, ask).await
}

/// The same for what may take longer.
///
/// # Errors
/// When the deadline passes.
pub async fn wait_long_for<T, F, A>(what: &str, patience: Duration, mut ask: F) -> Result<T, Error>
where
    F: FnMut() -> A,
    A: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + patience;
    let mut turns = interval(Duration::from_millis(10));
    loop {
        turns.tick().await;
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            return Err(format!("waited {} seconds in vain: {what}", patience.as_secs()).into());
        }
    }
}

/// Waits until a value in this process is what it should be.
///
/// # Errors
/// When that takes too long, or nobody sets it any more.
pub async fn wait_until<T: Clone>(
    what: &str,
    value: &watch::Sender<T>,
    is_it: impl FnMut(&T) -> bool,
) -> Result<T, Error> {
    match timeout(PATIENCE, value.subscribe().wait_for(is_it)).await {
        Ok(reached) => Ok(reached?.clone()),
        Err(_) => Err(format!("waited {} seconds in vain: {what}", PATIENCE.as_secs()).into()),
    }
}

/// Waits for so many more than there are now.
///
/// # Errors
/// As [`wait_until`].
pub async fn more_of(what: &str, count: &watch::Sender<usize>, more: usize) -> Result<(), Error> {
    let goal = *count.borrow() + more;
    wait_until(what, count, |now| *now >= goal).await.map(drop)
}
