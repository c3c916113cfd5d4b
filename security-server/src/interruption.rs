//! Why a route stops before its exchange is answered, and how both of its halves are told.
//!
//! A half is interrupted only where it waits for somebody else, never while it records: a message
//! that was signed or accepted is then in the log before the record that closes its exchange.

use futures_util::FutureExt;
use proto::refusal::RefusalStatus;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trust::{Reason, Refusal};

use crate::{
    exchange::passed,
    grpc::{reader::ReadError, writer::Unread},
    server::Server,
    stage::authorise::RefusedRequest,
    until::until,
};

/// Why a route stopped.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// This server refuses.
    Refused(Refusal),
    /// This server refuses a request that it verified: both are recorded together.
    RefusedRequest(Box<RefusedRequest>),
    /// The other server refused without a signature; passed on as it was said.
    Said(Box<RefusalStatus>),
}

impl From<Refusal> for Interruption {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a client's request is read for: a client that breaks off has given up its call.
impl From<ReadError> for Interruption {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Lost(_) => Self::cancelled(),
        }
    }
}

/// What a reply is written for: to whoever asked.
impl From<Unread> for Interruption {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Gone => Self::cancelled(),
            Unread::Stalled => Refusal::new(
                Reason::Busy,
                "the caller did not read the reply, and others waited for the memory that it held",
            )
            .into(),
        }
    }
}

impl Interruption {
    /// Whoever asked no longer waits.
    pub(crate) fn cancelled() -> Self {
        Refusal::new(Reason::Cancelled, "the caller gave up the call").into()
    }

    fn shutting_down() -> Self {
        Refusal::new(
            Reason::ShuttingDown,
            "this server was stopped before the call had ended",
        )
        .into()
    }

    fn deadline() -> Self {
        Refusal::new(
            Reason::DeadlineExceeded,
            "the deadline of the call has passed",
        )
        .into()
    }
}

/// Why a wait was interrupted.
enum Why {
    /// The other half has ended the exchange.
    Ended,
    Deadline,
    /// The server stops.
    Cut,
}

/// Stops both halves of a route: at the deadline, when one of them has ended the exchange, or when
/// the server stops.
pub(crate) struct Interrupt {
    deadline: Option<Instant>,
    ended: CancellationToken,
    cut: CancellationToken,
}

impl Interrupt {
    /// For an exchange with this deadline, if it has one, at this server.
    pub(crate) fn new(deadline: Option<Instant>, server: &Server) -> Self {
        let cut = server.exchanges().cut().clone();
        Self {
            deadline,
            ended: CancellationToken::new(),
            cut,
        }
    }

    /// Before there is an exchange: a peer that has opened a call has as long for its first request
    /// as for any message.
    pub(crate) fn opening(server: &Server) -> Self {
        let patience = server.budgets().from_consumers.message_timeout();
        Self::new(Some(Instant::now() + patience), server)
    }

    /// Waits for the first request of an exchange.
    ///
    /// # Errors
    /// Those of the wait, `PeerLost` or `ShuttingDown`.
    pub(crate) fn unless_late<T>(
        &self,
        wait: impl Future<Output = Result<T, Refusal>>,
    ) -> impl Future<Output = Result<T, Refusal>> {
        let late = |why| match why {
            Why::Ended | Why::Deadline => Refusal::new(
                Reason::PeerLost,
                "the other security server opened a call and sent no request in time",
            ),
            Why::Cut => Refusal::new(Reason::ShuttingDown, "this server is being stopped"),
        };
        self.until_interrupted(wait)
            .map(move |outcome| outcome.unwrap_or_else(|why| Err(late(why))))
    }

    /// Waits for somebody else, unless interrupted.
    ///
    /// # Errors
    /// Those of the wait, `DeadlineExceeded` or `ShuttingDown`; after the other half has ended the exchange an
    /// error that nobody sees.
    pub(crate) fn unless<T, E: Into<Interruption>>(
        &self,
        wait: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, Interruption>> {
        self.until_interrupted(wait).map(|outcome| match outcome {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(Why::Ended) => Err(Interruption::cancelled()),
            Err(Why::Deadline) => Err(Interruption::deadline()),
            Err(Why::Cut) => Err(Interruption::shutting_down()),
        })
    }

    fn until_interrupted<F: Future>(
        &self,
        wait: F,
    ) -> impl Future<Output = Result<F::Output, Why>> {
        let is_late = |deadline| deadline <= Instant::now();
        let is_due = self.ended.is_cancelled()
            || self.cut.is_cancelled()
            || self.deadline.is_some_and(is_late);
        until(wait, self.interrupted(), is_due)
    }

    async fn interrupted(&self) -> Why {
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Why::Ended,
            () = passed(self.deadline) => Why::Deadline,
            () = self.cut.cancelled() => Why::Cut,
        }
    }

    /// Runs both halves. The replies' end is the exchange's; requests end it only by failing. The
    /// half that did not end it comes to its next wait and stops there.
    ///
    /// # Errors
    /// Of the half that ended the exchange.
    pub(crate) async fn both(
        &self,
        requests: impl Future<Output = Result<(), Interruption>> + Unpin,
        replies: impl Future<Output = Result<(), Interruption>> + Unpin,
    ) -> Result<(), Interruption> {
        let requests = async {
            let outcome = requests.await;
            let ended_it = outcome.is_err() && !self.ended.is_cancelled();
            if ended_it {
                self.ended.cancel();
            }
            (outcome, ended_it)
        };
        let replies = async {
            let outcome = replies.await;
            self.ended.cancel();
            outcome
        };
        match tokio::join!(requests, replies) {
            // Whoever has the whole answer may give up what it had still to ask.
            (_, Ok(())) => Ok(()),
            ((failed, true), _) => failed,
            (_, answered) => answered,
        }
    }
}
