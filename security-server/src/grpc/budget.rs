//! The byte budget of the process: asked before a message is read into memory.

use std::{sync::Arc, time::Duration};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use trust::{Reason, Refusal};

/// How long a request waits for memory (backpressure) before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a message may take where nothing else is said.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Memory for all messages that are under way in this process, divided by the leg of their way.
///
/// A message holds its share until it is written on, so until there is room for it on the next leg. With
/// one budget for all, requests could hold all that the replies need which make room for them; and two
/// servers that call each other could each wait for the other. An exchange also waits for places on the
/// connections that it goes on by, here and at the provider, and those that have them wait for room: so
/// who has no places yet and who has them are two legs.
#[derive(Debug)]
pub(crate) struct Budgets {
    /// Requests of client systems, on their way to other servers.
    pub(crate) from_clients: Budget,
    /// Requests of other servers, on their way to adapters.
    pub(crate) from_consumers: Budget,
    /// Replies of adapters, on their way to other servers.
    pub(crate) from_adapters: Budget,
    /// Replies of other servers, on their way to client systems.
    pub(crate) from_providers: Budget,
}

/// Into how many parts the memory is divided: `budget_bytes` is so many messages, at least.
pub(crate) const LEGS: usize = 6;

impl Budgets {
    /// Of `total` bytes in all, for messages of at most `message_limit` that may each take so long.
    pub(crate) fn new(total: usize, message_limit: usize, message_timeout: Duration) -> Self {
        let leg = |of, patience| Budget {
            of,
            message_timeout,
            patience,
            ..Budget::new(total / LEGS, message_limit)
        };
        let requests = |of| {
            let opening = leg(of, PATIENCE);
            Budget {
                following: Some(leg(of, PATIENCE).bytes),
                ..opening
            }
        };
        // What a reply says was done already: it waits as long as a message may take at all.
        let replies = |of| leg(of, message_timeout);
        Self {
            from_clients: requests("requests of clients"),
            from_consumers: requests("requests of other servers"),
            from_adapters: replies("replies of adapters"),
            from_providers: replies("replies of other servers"),
        }
    }
}

/// Memory for messages under way.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// What messages, for people.
    of: &'static str,
    bytes: Arc<Semaphore>,
    /// For what comes once the exchange has its places, if that has a part of its own.
    following: Option<Arc<Semaphore>>,
    /// Cancelled when the exchange has its places.
    placed: CancellationToken,
    total: usize,
    message_limit: usize,
    message_timeout: Duration,
    /// How long a message waits for room.
    patience: Duration,
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
            of: "messages",
            bytes: Arc::new(Semaphore::new(total)),
            following: None,
            placed: CancellationToken::new(),
            total,
            message_limit: message_limit.min(total),
            message_timeout: MESSAGE_TIMEOUT,
            patience: PATIENCE,
        }
    }

    /// How long a message may take from its first byte to its last: its memory is held that long.
    pub(crate) const fn message_timeout(&self) -> Duration {
        self.message_timeout
    }

    /// The same budget for messages that wrap others and are a little larger.
    pub(crate) fn with_overhead(&self, overhead: usize) -> Self {
        Self {
            message_limit: self.message_limit + overhead,
            ..self.clone()
        }
    }

    /// The same for one exchange, which has its places on the connections that it goes on by once the token says so.
    pub(crate) fn of_exchange(&self, placed: &CancellationToken) -> Self {
        Self {
            placed: placed.clone(),
            ..self.clone()
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
        let permits = u32::try_from(length.min(self.total)).unwrap_or(u32::MAX);
        let acquired = tokio::time::timeout(self.patience, self.acquire(permits));
        match acquired.await {
            Ok(Ok(permit)) => Ok(Share { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Refusal::new(
                Reason::Busy,
                format!(
                    "the memory for {} is used up and did not become free in time",
                    self.of
                ),
            )),
        }
    }

    /// Who gets the places meanwhile goes on waiting among those that have them.
    async fn acquire(&self, permits: u32) -> Result<OwnedSemaphorePermit, AcquireError> {
        let opening = Arc::clone(&self.bytes).acquire_many_owned(permits);
        let Some(following) = &self.following else {
            return opening.await;
        };
        tokio::select! {
            biased;
            () = self.placed.cancelled() => Arc::clone(following).acquire_many_owned(permits).await,
            acquired = opening => acquired,
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
    async fn a_message_of_the_limit_fits_with_its_overhead_into_a_small_budget() {
        let budget = Budget::new(100, 100).with_overhead(10);
        budget.share(110).await.unwrap();
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
