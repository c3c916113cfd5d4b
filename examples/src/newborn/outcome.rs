//! What an attempt at a step has come to: done, to be tried again, or back at the desk.

use serde_json::Value;
use tonic::{Code, Response, Status, metadata::MetadataMap};
use tonic_types::StatusExt;

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
    // What the bus says is never a reason of substance: a right is missing, a server away, a service has moved.
    let refusal = field(status.metadata(), "x-road-refusal");
    if !refusal.is_empty() {
        return Outcome::Waits(format!("{refusal}: {}", status.message()));
    }
    let details = status.get_error_details();
    let said = details.error_info();
    let reason = said.map_or_else(
        || format!("{:?}", status.code()),
        |said| said.reason.clone(),
    );
    let words = format!("{reason}: {}", status.message());
    // An adapter says whether the same call may succeed later.
    let may_pass = match said.and_then(|said| said.metadata.get("retry")) {
        Some(retry) if status.code() != Code::DeadlineExceeded => retry == "true",
        _ => matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
                | Code::Aborted
                | Code::Cancelled
                | Code::Unknown
                | Code::Internal
        ),
    };
    match may_pass {
        true => Outcome::Waits(words),
        false => Outcome::Refused(words),
    }
}

fn field(metadata: &MetadataMap, name: &str) -> String {
    let value = metadata.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn judged(status: Status) -> Outcome {
        Attempt::judge(Err(status)).outcome
    }

    #[test]
    fn only_what_a_register_refuses_comes_back_to_the_desk() {
        for code in [
            Code::NotFound,
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::AlreadyExists,
        ] {
            let plain = judged(Status::new(code, "said"));
            assert!(matches!(plain, Outcome::Refused(_)), "{code:?}");
            // The same code from the bus: the service is not registered just now, say.
            let mut of_bus = Status::new(code, "said");
            of_bus.metadata_mut().insert(
                "x-road-refusal",
                "consumer.unknown_service".parse().unwrap(),
            );
            assert!(matches!(judged(of_bus), Outcome::Waits(_)), "{code:?}");
        }
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::Unknown,
        ] {
            let plain = judged(Status::new(code, "said"));
            assert!(matches!(plain, Outcome::Waits(_)), "{code:?}");
        }
    }

    #[test]
    fn what_an_adapter_says_of_trying_again_counts() {
        let said = |code, retry: &str| {
            let metadata = HashMap::from([("retry".to_owned(), retry.to_owned())]);
            let details = ErrorDetails::with_error_info("REASON", "lienthong.adapter", metadata);
            judged(Status::with_error_details(code, "said", details))
        };
        assert_eq!(
            said(Code::Internal, "false"),
            Outcome::Refused("REASON: said".to_owned())
        );
        assert_eq!(
            said(Code::Unavailable, "true"),
            Outcome::Waits("REASON: said".to_owned())
        );
        // Every step may be repeated, so that time is over is no reason not to.
        assert!(matches!(
            said(Code::DeadlineExceeded, "false"),
            Outcome::Waits(_)
        ));
    }
}
