//! The byte budget of the process: asked before a message is read into memory.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use trust::{Reason, Refusal};

/// How long a message waits for memory (backpressure) before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a message may take where nothing else is said.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Memory for all messages that are under way in this process.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    message_limit: usize,
    message_timeout: Duration,
}

/// The share of the budget that one message holds while it is in memory.
#[derive(Debug)]
pub(crate) struct Share {
    /// Given back when dropped.
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of `total` bytes for messages of at most `message_limit`.
    pub(crate) fn new(total: usize, message_limit: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            bytes: Arc::new(Semaphore::new(total)),
            message_limit: message_limit.min(total),
            message_timeout: MESSAGE_TIMEOUT,
        }
    }

    /// The same with another time for each message.
    pub(crate) fn within(self, message_timeout: Duration) -> Self {
        Self {
            message_timeout,
            ..self
        }
    }

    /// How long a message may take from its first byte to its last: its memory is held that long.
    pub(crate) const fn message_timeout(&self) -> Duration {
        self.message_timeout
    }

    /// The same budget for messages that wrap others and are a little larger.
    pub(crate) fn with_overhead(&self, overhead: usize) -> Self {
        Self {
            bytes: Arc::clone(&self.bytes),
            message_limit: self.message_limit + overhead,
            message_timeout: self.message_timeout,
        }
    }

    /// Waits for room for a message of `length` bytes.
    ///
    /// # Errors
    /// `MessageTooLarge` at once, `Busy` when no room was found in time.
    pub(crate) async fn share(&self, length: usize) -> Result<Share, Refusal> {
        if length > self.message_limit {
            return Err(Refusal::new(
                Reason::MessageTooLarge,
                format!(
                    "a message of {length} bytes is over the limit of {}",
                    self.message_limit
                ),
            ));
        }
        // Overhead may lift a message over the whole budget of a small server: it then waits for all.
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        let acquired = tokio::time::timeout(
            PATIENCE,
            Arc::clone(&self.bytes).acquire_many_owned(permits),
        );
        match acquired.await {
            Ok(Ok(permit)) => Ok(Share { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(
                Reason::Busy,
                "the memory for messages under way is used up and did not become free in time",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_at_once() {
        let budget = Budget::new(100, 50);
        assert_eq!(
            budget.share(51).await.unwrap_err().reason,
            Reason::MessageTooLarge
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_budget_holds_back_and_then_refuses() {
        let budget = Budget::new(100, 100);
        let held = budget.share(80).await.unwrap();
        assert_eq!(budget.share(30).await.unwrap_err().reason, Reason::Busy);
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.share(30).await.map(drop) }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
