//! Why a route stopped before its exchange was answered.

use proto::refusal::RefusalStatus;
use trust::{Reason, Refusal};

use crate::grpc::reader::ReadError;

/// Why a route stopped.
#[derive(Debug)]
pub(crate) enum Interruption {
    /// This server refuses.
    Refused(Refusal),
    /// The other server refused without a signature; passed on as it was said.
    Said(Box<RefusalStatus>),
}

impl From<Refusal> for Interruption {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Interruption {
    /// A client that broke off its request.
    pub(crate) fn from_client(error: ReadError) -> Self {
        match error {
            ReadError::Refused(refusal) => refusal.into(),
            ReadError::Lost(_) => Self::cancelled(),
        }
    }

    /// The client no longer waits.
    pub(crate) fn cancelled() -> Self {
        Refusal::new(Reason::Cancelled, "the client gave up the call").into()
    }

    /// The client's time is up.
    pub(crate) fn deadline() -> Self {
        Refusal::new(
            Reason::DeadlineExceeded,
            "the deadline of the call has passed",
        )
        .into()
    }
}
