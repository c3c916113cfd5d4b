//! What an attempt at a step has come to: done, to be tried again, or back at the desk.

use serde_json::Value;
use tonic::{Code, Response, Status, metadata::MetadataMap};

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The agency has done it, and this is what it said.
    Done(Value),
    /// It may succeed later: somebody is away, or has too much to do.
    Waits(String),
    /// It will not succeed as it was asked: people must decide.
    Refused(String),
}

/// One attempt, with the exchange that it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The exchange's id on the bus; empty when there was none.
    pub exchange: String,
    /// What came of it.
    pub outcome: Outcome,
}

impl Attempt {
    /// Judges an answer. Every step may be repeated, so all that may be a matter of time is tried again.
    #[must_use]
    pub fn judge(answer: Result<Response<Value>, Status>) -> Self {
        match answer {
            Ok(reply) => Self {
                exchange: field(reply.metadata(), "x-road-exchange-id"),
                outcome: Outcome::Done(reply.into_inner()),
            },
            Err(status) => Self {
                exchange: field(status.metadata(), "x-road-exchange-id"),
                outcome: of_status(&status),
            },
        }
    }

    /// Nobody was reached: not even the own security server.
    #[must_use]
    pub const fn unreached(why: String) -> Self {
        Self {
            exchange: String::new(),
            outcome: Outcome::Waits(why),
        }
    }
}

fn of_status(status: &Status) -> Outcome {
    let refusal = field(status.metadata(), "x-road-refusal");
    let said = match refusal.as_str() {
        "" => format!("{:?}: {}", status.code(), status.message()),
        refusal => format!("{refusal}: {}", status.message()),
    };
    let may_pass = match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal => true,
        // What the bus says of itself, and not of the client, is no reason of substance.
        _ => !refusal.is_empty() && field(status.metadata(), "x-road-fault") != "client",
    };
    match may_pass {
        true => Outcome::Waits(said),
        false => Outcome::Refused(said),
    }
}

fn field(metadata: &MetadataMap, name: &str) -> String {
    let value = metadata.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: Code, refusal: Option<(&str, &str)>) -> Outcome {
        let mut status = Status::new(code, "said");
        if let Some((refusal, fault)) = refusal {
            let fields = status.metadata_mut();
            fields.insert("x-road-refusal", refusal.parse().unwrap());
            fields.insert("x-road-fault", fault.parse().unwrap());
        }
        Attempt::judge(Err(status)).outcome
    }

    #[test]
    fn only_what_a_register_or_a_right_refuses_comes_back_to_the_desk() {
        for code in [
            Code::NotFound,
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::AlreadyExists,
        ] {
            assert!(
                matches!(judged(code, None), Outcome::Refused(_)),
                "{code:?}"
            );
        }
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Unknown,
        ] {
            assert!(matches!(judged(code, None), Outcome::Waits(_)), "{code:?}");
        }
        let gone = judged(
            Code::NotFound,
            Some(("consumer.unknown_service", "provider")),
        );
        assert!(matches!(gone, Outcome::Waits(_)));
        let denied = judged(
            Code::PermissionDenied,
            Some(("provider.access_denied", "client")),
        );
        assert!(matches!(denied, Outcome::Refused(_)));
    }
}
