//! A provider's decisions about one exchange: who was allowed by which right, who was refused.

use trust::{
    access::Question,
    header::{Direction, Header},
};

use crate::{
    check::Check,
    messages::{ACCEPTED, ParsedMessage},
    report::Report,
    rights::{Allowed, LocalState},
};

/// What the first request of an exchange decides for those that follow.
pub(crate) struct Decisions {
    /// The stated purpose; none when the first request is missing.
    purpose: Option<String>,
    /// The first request was refused with this code; its reply has to say so.
    refused: Option<String>,
}

impl Decisions {
    pub(crate) fn of(first: &Header) -> Self {
        Self {
            purpose: Some(first.statements.purpose.clone()),
            refused: None,
        }
    }

    /// Of an exchange whose first request is missing.
    pub(crate) const fn unknown() -> Self {
        Self {
            purpose: None,
            refused: None,
        }
    }

    /// Checks what the provider decided about a message.
    pub(crate) fn check(
        &mut self,
        report: &mut Report,
        state: &LocalState,
        message: &ParsedMessage,
    ) {
        let (index, header, annex) = (message.index, &message.header, &message.annex);
        let logged_at = message.recorded.logged_at;
        let is_request = header.direction == Direction::Request;
        if is_request && annex.decision != ACCEPTED {
            self.refused = Some(annex.decision.clone());
        } else if let Some(code) = self.refused.take() {
            report.judge(Check::Refusals, index, check_refusal(header, &code));
        } else if is_request {
            self.check_right(report, message, |question| match annex.access_right {
                Some(granted) => state.check_right(granted, question, logged_at),
                None => Err("it was accepted and names no access right".to_owned()),
            });
        } else if header.refusal_code.is_none() {
            self.check_right(report, message, |question| {
                state.check_any_right(question, logged_at)
            });
        }
    }

    /// The exchange is closed by record `index`. A refused request is recorded together with its
    /// refusal; only a crash in between can part them, and then the exchange is found open.
    pub(crate) fn closed(&self, report: &mut Report, index: u64) {
        if let Some(code) = &self.refused {
            let problem = format!("the request was refused with {code}, and no reply says so");
            report.failed(Check::Refusals, index, problem);
        }
    }

    fn check_right(
        &self,
        report: &mut Report,
        message: &ParsedMessage,
        allowed: impl FnOnce(&Question<'_>) -> Result<Allowed, String>,
    ) {
        let Some(purpose) = &self.purpose else {
            return report.unchecked(Check::Rights);
        };
        let parties = &message.header.parties;
        let question = Question {
            client: &parties.client,
            service: &parties.service,
            method: &parties.method,
            purpose,
            at: message.recorded.at,
        };
        let outcome = report.judge(Check::Rights, message.index, allowed(&question));
        if outcome == Some(Allowed::MomentsBefore) {
            report.facts.overlapping_decisions += 1;
        }
    }
}

/// What follows a refused request is the final reply that says so.
fn check_refusal(header: &Header, code: &str) -> Result<(), String> {
    match (&header.refusal_code, header.direction) {
        (Some(said), Direction::Reply) if said == code => Ok(()),
        (Some(said), Direction::Reply) => Err(format!(
            "the request was refused with {code}, the reply says {said}"
        )),
        (None, Direction::Reply) => Err(format!(
            "the request was refused with {code} and answered all the same"
        )),
        (_, Direction::Request) => Err(format!(
            "a request was accepted after the first was refused with {code}"
        )),
    }
}
