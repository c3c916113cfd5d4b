//! May this client call this method, for this purpose, now? Asked of verified messages only.

use std::sync::Arc;

use tokio::time::{Duration, Instant};
use trust::{Reason, Refusal, access::Question, exchange::ProviderExchange};

use super::verify::{Verified, VerifiedOpening, VerifiedRequest};
use crate::{
    exchange::Provision,
    interruption::Interruption,
    local_state::{Allowed, LocalState},
    server::Server,
    snapshot::Snapshot,
    subjects::Marking,
};

/// The proof that a verified first request is allowed, with the exchange that it opens.
pub(crate) struct AuthorisedOpening {
    pub(super) request: Verified,
    pub(super) right: Allowed,
    pub(super) exchange: Arc<Provision>,
}

impl AuthorisedOpening {
    /// The exchange that this request opens.
    pub(crate) fn exchange(&self) -> Arc<Provision> {
        Arc::clone(&self.exchange)
    }
}

/// The proof that a verified later request is still allowed.
pub(crate) struct AuthorisedRequest {
    pub(super) request: Verified,
    pub(super) right: u64,
}

/// A verified request that is not allowed, to be recorded with the reply that refuses it.
pub(crate) struct RefusedRequest {
    pub(super) request: Verified,
    pub(crate) refusal: Refusal,
}

impl std::fmt::Debug for RefusedRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "RefusedRequest({})", self.refusal)
    }
}

/// A first request that is not allowed.
pub(crate) struct RefusedOpening {
    pub(crate) refused: RefusedRequest,
    /// None when this server cannot sign for the service, nor for itself.
    pub(crate) exchange: Option<Arc<Provision>>,
}

impl Server {
    /// Decides about the first request of an exchange.
    ///
    /// # Errors
    /// The request with its refusal, to be signed and recorded.
    pub(crate) async fn authorise_opening(
        &self,
        opening: VerifiedOpening,
    ) -> Result<AuthorisedOpening, Box<RefusedOpening>> {
        let VerifiedOpening { request, exchange } = opening;
        let subjects = self.data_subjects();
        let marking = subjects.marking(&request.snapshot, exchange.parties());
        let marking = marking.await;
        let state = self.local_state();
        let decision = self.decide(&state, &request, &exchange);
        let provision = self.provision(&state, &request, exchange, marking);
        match (decision, provision) {
            (Ok(right), Ok(exchange)) => Ok(AuthorisedOpening {
                request,
                right,
                exchange,
            }),
            (Ok(_), Err(refusal)) => Err(refused(request, refusal, None)),
            (Err(refusal), provision) => Err(refused(request, refusal, provision.ok())),
        }
    }

    fn decide(
        &self,
        state: &LocalState,
        request: &Verified,
        exchange: &ProviderExchange,
    ) -> Result<Allowed, Refusal> {
        let parties = exchange.parties();
        state.service(&parties.service, &parties.method)?;
        let decided = state.decide(&Question {
            client: &parties.client,
            service: &parties.service,
            method: &parties.method,
            purpose: &request.message.header().statements.purpose,
            at: self.clock().seconds(),
        });
        decided.cloned()
    }

    /// Decides about a later request: a right that was withdrawn ends the stream.
    ///
    /// # Errors
    /// The request with its refusal, to be signed as the final reply and recorded.
    pub(crate) fn authorise(
        &self,
        exchange: &Provision,
        verified: VerifiedRequest,
    ) -> Result<AuthorisedRequest, Interruption> {
        let request = verified.request;
        let right = match self.right_of(exchange) {
            Ok(right) => right,
            Err(refusal) => {
                let refused = RefusedRequest { request, refusal };
                return Err(Interruption::RefusedRequest(Box::new(refused)));
            }
        };
        Ok(AuthorisedRequest { request, right })
    }

    /// Asks the right again before a reply is signed.
    ///
    /// # Errors
    /// The refusal, or `NoConfiguration`.
    pub(crate) fn still_allowed(&self, exchange: &Provision) -> Result<Arc<Snapshot>, Refusal> {
        let snapshot = self.configuration_in_force()?;
        let parties = &exchange.parties;
        let configuration = snapshot.configuration();
        if configuration.server_of(&exchange.peer_certificate) != Some(&parties.consumer) {
            return Err(Refusal::new(
                Reason::UnknownServer,
                format!(
                    "the connection's certificate is no longer that of {}",
                    parties.consumer
                ),
            ));
        }
        let hosts = configuration.hosts_of(&parties.client);
        if !hosts.contains(&parties.consumer) {
            return Err(Refusal::new(
                Reason::NotRegisteredAtServer,
                format!(
                    "{} is no longer registered at {}",
                    parties.client, parties.consumer
                ),
            ));
        }
        self.right_of(exchange)?;
        Ok(snapshot)
    }

    fn right_of(&self, exchange: &Provision) -> Result<u64, Refusal> {
        let parties = &exchange.parties;
        let state = self.local_state();
        state.service(&parties.service, &parties.method)?;
        let decided = state.decide(&Question {
            client: &parties.client,
            service: &parties.service,
            method: &parties.method,
            purpose: &exchange.statements.purpose,
            at: self.clock().seconds(),
        });
        decided.map(|allowed| allowed.index)
    }

    /// Opens the provider's side of an exchange. Also made for a refusal, which needs its chain.
    fn provision(
        &self,
        state: &LocalState,
        request: &Verified,
        exchange: ProviderExchange,
        marking: Marking,
    ) -> Result<Arc<Provision>, Refusal> {
        let header = request.message.header();
        let parties = exchange.parties();
        let service = state
            .service(&parties.service, &parties.method)
            .ok()
            .cloned();
        let signer = match self.signer_of(&parties.service) {
            Ok(signer) => signer,
            // A refusal may be signed by this server's owner when the service is not hosted here.
            Err(_) if service.is_none() => self.owner_signer()?,
            Err(refusal) => return Err(refusal),
        };
        let limits = [
            header.deadline_milliseconds,
            service
                .as_ref()
                .and_then(|service| service.timeout_milliseconds),
        ];
        let timeout = limits.into_iter().flatten().min();
        // A deadline beyond what the clock can tell is none.
        let deadline =
            timeout.and_then(|timeout| Instant::now().checked_add(Duration::from_millis(timeout)));
        Ok(Arc::new(Provision::new(
            exchange,
            header.statements.clone(),
            deadline,
            signer,
            service,
            request.peer_certificate,
            marking,
        )))
    }
}

fn refused(
    request: Verified,
    refusal: Refusal,
    exchange: Option<Arc<Provision>>,
) -> Box<RefusedOpening> {
    Box::new(RefusedOpening {
        refused: RefusedRequest { request, refusal },
        exchange,
    })
}
