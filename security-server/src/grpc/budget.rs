//! The byte budget of the process: asked before a message is read into memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use trust::{Reason, Refusal};

/// How long a request waits for memory (backpressure) before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long who reads from us may read nothing while others wait for the memory that it holds: a client or an adapter.
const READER_PATIENCE: Duration = Duration::from_secs(10);

/// The same of another server, whose own readers may keep it waiting: for as long as it has patience with them, and
/// as long again as it then waits for memory.
const SERVER_PATIENCE: Duration = Duration::from_secs(30);

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
        let leg = |of, patience, reader_patience| {
            let budget = Budget::new(total / LEGS, message_limit);
            Budget {
                of,
                room: Room::new(budget.total, reader_patience, message_timeout),
                patience,
                ..budget
            }
        };
        let requests = |of, reader_patience| {
            let opening = leg(of, PATIENCE, reader_patience);
            Budget {
                following: Some(leg(of, PATIENCE, reader_patience).room),
                ..opening
            }
        };
        // What a reply says was done already: it waits as long as a message may take at all.
        let replies = |of, reader_patience| leg(of, message_timeout, reader_patience);
        Self {
            from_clients: requests("requests of clients", SERVER_PATIENCE),
            from_consumers: requests("requests of other servers", READER_PATIENCE),
            from_adapters: replies("replies of adapters", SERVER_PATIENCE),
            from_providers: replies("replies of other servers", READER_PATIENCE),
        }
    }
}

/// Memory for messages under way.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    /// What messages, for people.
    of: &'static str,
    room: Arc<Room>,
    /// For what comes once the exchange has its places, if that has a part of its own.
    following: Option<Arc<Room>>,
    /// Cancelled when the exchange has its places.
    placed: CancellationToken,
    total: usize,
    message_limit: usize,
    /// How long a message waits for room.
    patience: Duration,
}

/// One part of the memory.
#[derive(Debug)]
struct Room {
    bytes: Arc<Semaphore>,
    /// How many wait for some of it.
    waiting: AtomicUsize,
    /// How long the reader of a message may read nothing while others wait.
    reader_patience: Duration,
    message_timeout: Duration,
}

impl Room {
    fn new(total: usize, reader_patience: Duration, message_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            bytes: Arc::new(Semaphore::new(total)),
            waiting: AtomicUsize::new(0),
            reader_patience,
            message_timeout,
        })
    }

    async fn acquire(self: &Arc<Self>, permits: u32) -> Result<Share, AcquireError> {
        let permit = match Arc::clone(&self.bytes).try_acquire_many_owned(permits) {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::of(self);
                Arc::clone(&self.bytes).acquire_many_owned(permits).await?
            }
        };
        Ok(Share {
            _permit: permit,
            room: Arc::clone(self),
        })
    }
}

/// One that waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(room: &'a Room) -> Self {
        room.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&room.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The share of the budget that one message holds while it is in memory.
#[derive(Debug)]
pub(crate) struct Share {
    /// Given back when dropped.
    _permit: OwnedSemaphorePermit,
    room: Arc<Room>,
}

impl Share {
    /// Whether others wait for memory, and whoever reads the message has read nothing for too long, or takes too
    /// long for all of it.
    pub(crate) fn is_overdue(&self, begun: Instant, moved: Instant) -> bool {
        let is_wanted = self.room.waiting.load(Ordering::Relaxed) > 0;
        let is_slow = moved.elapsed() >= self.room.reader_patience;
        is_wanted && (is_slow || begun.elapsed() >= self.room.message_timeout)
    }
}

impl Budget {
    /// A budget of `total` bytes for messages of at most `message_limit`.
    pub(crate) fn new(total: usize, message_limit: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            of: "messages",
            room: Room::new(total, READER_PATIENCE, MESSAGE_TIMEOUT),
            following: None,
            placed: CancellationToken::new(),
            total,
            message_limit: message_limit.min(total),
            patience: PATIENCE,
        }
    }

    /// How long a message may take from its first byte to its last: its memory is held that long.
    pub(crate) fn message_timeout(&self) -> Duration {
        self.room.message_timeout
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
            Ok(Ok(share)) => Ok(share),
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
    async fn acquire(&self, permits: u32) -> Result<Share, AcquireError> {
        let opening = self.room.acquire(permits);
        let Some(following) = &self.following else {
            return opening.await;
        };
        tokio::select! {
            biased;
            () = self.placed.cancelled() => following.acquire(permits).await,
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
