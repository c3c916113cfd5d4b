//! Explains what would become of a call, by asking the rules themselves and saying each answer.

use std::sync::Arc;

use proto::administration::{ExplainReply, ExplainRequest, ExplainedPart, ExplainedRule};
use trust::{
    InvalidIdentifier, MethodPath, Refusal, SubsystemId,
    access::{Question, examine},
    refusal::Side,
};

use crate::{server::Server, snapshot::Snapshot, stage::resolve::provider_of};

/// The call that is asked about.
pub(super) struct Call {
    client: SubsystemId,
    service: SubsystemId,
    method: MethodPath,
    purpose: String,
    /// Seconds since 1970 (UTC); absent: now.
    at: Option<i64>,
}

impl TryFrom<ExplainRequest> for Call {
    type Error = InvalidIdentifier;

    fn try_from(asked: ExplainRequest) -> Result<Self, InvalidIdentifier> {
        Ok(Self {
            client: asked.client.parse()?,
            service: asked.service.parse()?,
            method: MethodPath::parse(&asked.method)?,
            purpose: asked.purpose,
            at: asked.at,
        })
    }
}

/// The rules of one side, asked in order until one refuses.
struct Rules {
    side: Side,
    asked: Vec<ExplainedRule>,
    refusal: Option<Refusal>,
}

impl Rules {
    const fn of(side: Side) -> Self {
        Self {
            side,
            asked: Vec::new(),
            refusal: None,
        }
    }

    /// Asks one rule, unless one before it refused. Gives what it found when it holds.
    fn ask<T>(
        &mut self,
        rule: &str,
        ask: impl FnOnce() -> Result<(T, String), Refusal>,
    ) -> Option<T> {
        let answer = match &self.refusal {
            Some(_) => None,
            None => Some(ask()),
        };
        let (holds, found, value) = match answer {
            None => (None, "not asked".to_owned(), None),
            Some(Ok((value, found))) => (Some(true), found, Some(value)),
            Some(Err(refusal)) => {
                let found = refusal.explanation.clone();
                self.refusal = Some(refusal);
                (Some(false), found, None)
            }
        };
        let rule = rule.to_owned();
        self.asked.push(ExplainedRule { rule, holds, found });
        value
    }

    /// Says something that decides nothing alone.
    fn note(&mut self, rule: String, answer: Result<(), Refusal>) {
        let (holds, found) = match answer {
            Ok(()) => (true, "allows the call".to_owned()),
            Err(refusal) => (false, refusal.explanation),
        };
        let holds = Some(holds);
        self.asked.push(ExplainedRule { rule, holds, found });
    }
}

impl Server {
    /// Explains a call by the rules of each side that this server is on.
    pub(super) async fn explain(&self, call: &Call) -> ExplainReply {
        let hosted = |subsystem| self.local_state().subsystems.contains_key(subsystem);
        let mut parts = Vec::new();
        if hosted(&call.client) || !hosted(&call.service) {
            let rules = self.explain_consumer(call);
            parts.push(self.explained(rules, String::new()));
        }
        if hosted(&call.service) {
            let (rules, right) = self.explain_provider(call).await;
            parts.push(self.explained(rules, right));
        }
        ExplainReply { parts }
    }

    fn explain_consumer(&self, call: &Call) -> Rules {
        let mut rules = Rules::of(Side::Consumer);
        let client = &call.client;
        rules.ask(
            "the client is a subsystem of this server, and enabled",
            || {
                self.check_enabled(client)?;
                Ok(((), format!("{client} is")))
            },
        );
        let Some(snapshot) = self.ask_configuration(&mut rules) else {
            return rules;
        };
        rules.ask("the client is registered at this server", || {
            self.check_registered(&snapshot, client)?;
            Ok(((), "in the global configuration".to_owned()))
        });
        rules.ask(
            "the service is registered, and its server has an address",
            || {
                let (server, address) = provider_of(&snapshot, &call.service, &call.method)?;
                Ok(((), format!("{server} at {address}")))
            },
        );
        self.ask_signer(&mut rules, client, &snapshot);
        rules
    }

    async fn explain_provider(&self, call: &Call) -> (Rules, String) {
        let mut rules = Rules::of(Side::Provider);
        let Some(snapshot) = self.ask_configuration(&mut rules) else {
            return (rules, String::new());
        };
        rules.ask("the client is registered at a security server", || {
            let hosts = snapshot.configuration().hosts_of(&call.client);
            let refused = || {
                let what = format!("{} is registered at no security server", call.client);
                Refusal::new(trust::Reason::NotRegisteredAtServer, what)
            };
            let host = hosts.first().ok_or_else(refused)?;
            Ok(((), host.to_string()))
        });
        let state = self.local_state();
        let service = rules.ask("the service is hosted here, and enabled", || {
            let service = state.service(&call.service, &call.method)?;
            Ok((service, format!("its adapter: {}", service.adapter)))
        });
        let question = Question {
            client: &call.client,
            service: &call.service,
            method: &call.method,
            purpose: &call.purpose,
            at: call.at.unwrap_or_else(|| self.clock().seconds()),
        };
        let of_both = |right: &trust::access::AccessRight| {
            right.client == call.client && right.service == call.service
        };
        for (id, (_, right)) in state.rights.iter().filter(|(_, (_, right))| of_both(right)) {
            let allows = examine(right, &question);
            let answer = allows.map_err(|miss| miss.refusal(right, &question));
            rules.note(format!("right {id}"), answer);
        }
        let index = rules.ask("an access right allows the call", || {
            let index = state.decide(&question)?.index;
            Ok((index, format!("granted by record {index} of the log")))
        });
        let granted =
            |(id, (at, _)): (&String, &(u64, _))| (Some(*at) == index).then(|| id.clone());
        let right = state.rights.iter().find_map(granted).unwrap_or_default();
        self.ask_signer(&mut rules, &call.service, &snapshot);
        let connected = match service {
            Some(service) => Some(self.adapters().to(&service.adapter).await),
            None => None,
        };
        rules.ask("the adapter can be reached", || match connected {
            Some(Err(refusal)) => Err(refusal),
            _ => Ok(((), "it accepts connections".to_owned())),
        });
        (rules, right)
    }

    fn ask_configuration(&self, rules: &mut Rules) -> Option<Arc<Snapshot>> {
        rules.ask("the global configuration is in force", || {
            let snapshot = self.configuration_in_force()?;
            let serial = snapshot.configuration().serial();
            Ok((snapshot, format!("serial {serial}")))
        })
    }

    fn ask_signer(&self, rules: &mut Rules, subsystem: &SubsystemId, snapshot: &Snapshot) {
        rules.ask("this server can sign for the member", || {
            let signer = self.signer_of(subsystem)?;
            self.own_certificate(&signer, snapshot)?;
            Ok(((), format!("with a certificate of {}", subsystem.member())))
        });
    }

    fn explained(&self, rules: Rules, access_right: String) -> ExplainedPart {
        let Rules {
            side,
            asked,
            refusal,
        } = rules;
        let refusal = refusal.map(|refusal| refusal.said_by(side, self.id().clone()));
        ExplainedPart {
            side: side.name().to_owned(),
            rules: asked,
            refusal_code: refusal.as_ref().map(|said| said.code()).unwrap_or_default(),
            refusal_message: refusal.map(|said| said.to_string()).unwrap_or_default(),
            access_right,
        }
    }
}
