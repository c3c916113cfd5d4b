//! An exchange under way: what both halves of a route share.

use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    sync::watch,
    time::{Duration, Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use trust::{
    Digest, Reason, Refusal,
    exchange::{Chain, ConsumerExchange, ProviderExchange},
    header::{Direction, Parties, Statements},
    promise::Promise,
    refusal::Side,
};

use crate::{
    client_call::ConnectionIdentity, counting::note_duration, crowd::Crowd,
    local_state::LocalService, signer::MemberSigner, subjects::Marking,
};

/// How long an interrupted exchange may take to record its end.
const CUT_TIMEOUT: Duration = Duration::from_secs(5);

/// The consumer's side of an exchange.
pub(crate) struct Consumption {
    pub(crate) parties: Parties,
    pub(crate) statements: Statements,
    /// When the caller gives up.
    pub(crate) deadline: Option<Instant>,
    /// How the client's connection says who it is.
    pub(crate) identity: ConnectionIdentity,
    /// Signs for the client's member.
    pub(crate) signer: Arc<MemberSigner>,
    /// Where the provider's server listens.
    pub(crate) address: String,
    /// What is known of who is named in its messages.
    pub(crate) marking: Marking,
    /// The TLS certificate of the connection, once there is one.
    pub(crate) peer_certificate: OnceLock<Digest>,
    /// The code of the refusal that the final reply is, if it is one.
    pub(crate) refused: OnceLock<String>,
    exchange: Mutex<ConsumerExchange>,
}

impl Consumption {
    pub(crate) fn new(
        parties: Parties,
        statements: Statements,
        deadline: Option<Instant>,
        identity: ConnectionIdentity,
        signer: Arc<MemberSigner>,
        address: String,
        marking: Marking,
    ) -> Self {
        let exchange = Mutex::new(ConsumerExchange::open(parties.clone()));
        Self {
            parties,
            statements,
            deadline,
            identity,
            signer,
            address,
            marking,
            peer_certificate: OnceLock::new(),
            refused: OnceLock::new(),
            exchange,
        }
    }

    /// The order and chain of both directions; held for a moment, never across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ConsumerExchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests and replies there were.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts::of(state.requests(), state.replies())
    }

    /// What is left of the caller's time.
    pub(crate) fn milliseconds_left(&self) -> Option<u64> {
        milliseconds_left(self.deadline)
    }
}

/// The provider's side of an exchange, from its authorised first request on.
pub(crate) struct Provision {
    pub(crate) parties: Parties,
    pub(crate) statements: Statements,
    /// When the caller, or this server's limit for the service, gives up.
    pub(crate) deadline: Option<Instant>,
    /// Signs for the service's member.
    pub(crate) signer: Arc<MemberSigner>,
    /// The service called; none in a refusal because there is none.
    pub(crate) service: Option<LocalService>,
    /// The TLS certificate of the connection that the exchange runs on.
    pub(crate) peer_certificate: Digest,
    /// What is known of who is named in its messages.
    pub(crate) marking: Marking,
    exchange: Mutex<ProviderExchange>,
}

impl Provision {
    pub(crate) fn new(
        exchange: ProviderExchange,
        statements: Statements,
        deadline: Option<Instant>,
        signer: Arc<MemberSigner>,
        service: Option<LocalService>,
        peer_certificate: Digest,
        marking: Marking,
    ) -> Self {
        let parties = exchange.parties().clone();
        let exchange = Mutex::new(exchange);
        Self {
            parties,
            statements,
            deadline,
            signer,
            service,
            peer_certificate,
            marking,
            exchange,
        }
    }

    /// The order and chain of both directions; held for a moment, never across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ProviderExchange> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Provision {
    /// How many requests and replies there were.
    pub(crate) fn counts(&self) -> Counts {
        let state = self.lock();
        Counts::of(state.requests(), state.replies())
    }
}

/// Either side of an exchange, as its records are made.
pub(crate) trait Conversation {
    /// What is known of who is named in its messages.
    fn marking(&self) -> &Marking;

    /// Notes that the newest message of a direction is on disk.
    fn note_recorded(&self, direction: Direction);

    /// Notes where that is, of a message that was recorded alone.
    fn note_kept(&self, direction: Direction, kept: Promise);
}

impl Conversation for Consumption {
    fn marking(&self) -> &Marking {
        &self.marking
    }

    fn note_recorded(&self, direction: Direction) {
        self.lock().note_recorded(direction);
    }

    fn note_kept(&self, direction: Direction, _kept: Promise) {
        self.note_recorded(direction);
    }
}

impl Conversation for Provision {
    fn marking(&self) -> &Marking {
        &self.marking
    }

    fn note_recorded(&self, direction: Direction) {
        self.lock().note_recorded(direction);
    }

    fn note_kept(&self, direction: Direction, kept: Promise) {
        let mut exchange = self.lock();
        exchange.note_recorded(direction);
        if direction == Direction::Request {
            exchange.note_kept(kept);
        }
    }
}

/// How many messages an exchange had, for its log line.
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) replies: u64,
}

impl Counts {
    fn of(requests: &Chain, replies: &Chain) -> Self {
        Self {
            requests: requests.next_sequence(),
            replies: replies.next_sequence(),
        }
    }
}

/// Counts the exchanges under way, so that a server that stops can bring them to an end.
pub(crate) struct OpenExchanges {
    limit: usize,
    count: watch::Sender<usize>,
    stopping: AtomicBool,
    cut: CancellationToken,
}

impl OpenExchanges {
    /// At most `limit` at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            count: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            cut: CancellationToken::new(),
        }
    }
}

/// One exchange under way; it ends when this is dropped.
pub(crate) struct OpenExchange {
    side: Side,
    began: Instant,
    count: watch::Sender<usize>,
}

impl OpenExchanges {
    /// Counts in one more.
    ///
    /// # Errors
    /// `ShuttingDown` when the server takes no more, `Busy` when it has as many as it can carry.
    pub(crate) fn enter(&self, side: Side) -> Result<OpenExchange, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::new(
                Reason::ShuttingDown,
                "this server is being stopped",
            ));
        }
        let entered = self.count.send_if_modified(|count| {
            let room = *count < self.limit;
            *count += usize::from(room);
            room
        });
        if !entered {
            let what = format!("{} exchanges are under way at this server", self.limit);
            return Err(Refusal::new(Reason::Busy, what));
        }
        Ok(OpenExchange {
            side,
            began: Instant::now(),
            count: self.count.clone(),
        })
    }

    /// Takes no more exchanges, and gives those under way some time to end.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Ordering::Release);
        if timeout(grace, self.none_open()).await.is_ok() {
            return;
        }
        // Interrupted, each brings itself to a recorded end.
        self.cut.cancel();
        if timeout(CUT_TIMEOUT, self.none_open()).await.is_err() {
            tracing::warn!("some exchanges did not end; they are closed at the next start");
        }
    }

    /// Those under way, for whoever asks whether there are several.
    pub(crate) fn crowd(&self) -> Crowd {
        Crowd::new(self.count.subscribe())
    }

    /// How many are under way.
    pub(crate) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Cancelled when the exchanges under way have to end now.
    pub(crate) const fn cut(&self) -> &CancellationToken {
        &self.cut
    }

    async fn none_open(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for OpenExchange {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
        note_duration(self.side, self.began.elapsed());
    }
}

/// Milliseconds until a deadline, rounded up so that the other side never gives up much earlier.
pub(crate) fn milliseconds_left(deadline: Option<Instant>) -> Option<u64> {
    let left = deadline?.saturating_duration_since(Instant::now());
    Some(u64::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// Waits until the deadline; for ever when there is none.
pub(crate) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
