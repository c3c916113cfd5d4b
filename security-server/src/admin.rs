//! The admin API on a Unix socket: the local state is shown and changed. Every change is a record,
//! and so is every change that was refused.

mod explain;
mod ping;
mod shown;

use std::sync::Arc;

use proto::administration::{
    AcceptClockReply, AcceptClockRequest, ApplyReply, ApplyRequest, ExplainReply, ExplainRequest,
    PingReply, PingRequest, ShowReply, ShowRequest,
    security_server_administration_server::{
        SecurityServerAdministration, SecurityServerAdministrationServer,
    },
};
use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::server::UdsConnectInfo};
use trust::{
    ServerId,
    wire::evidence::{Change, ClockAccepted, RefusedAction},
};

use crate::{listen::pause, server::Server};

/// The most a message through the socket may measure: the state of a large agency.
pub(crate) const MESSAGE_LIMIT: usize = 64 * 1024 * 1024;

/// The most changes one request may carry.
const CHANGES_LIMIT: usize = 10_000;

/// Serves the admin API until `stop` is ready.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: UnixListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = SecurityServerAdministrationServer::new(Administration { server })
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let accepted = UnixListenerStream::new(listener).then(async |accepted| {
        if let Err(error) = &accepted {
            pause(error).await;
        }
        accepted
    });
    let connections = accepted.filter(Result::is_ok);
    tonic::transport::Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(connections, stop)
        .await
}

#[derive(Clone)]
struct Administration {
    server: Arc<Server>,
}

#[tonic::async_trait]
impl SecurityServerAdministration for Administration {
    async fn show(&self, _request: Request<ShowRequest>) -> Result<Response<ShowReply>, Status> {
        Ok(Response::new(self.server.shown()))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainReply>, Status> {
        let call = explain::Call::try_from(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok(Response::new(self.server.explain(&call).await))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let server: ServerId =
            request
                .into_inner()
                .server
                .parse()
                .map_err(|error: trust::InvalidIdentifier| {
                    Status::invalid_argument(error.to_string())
                })?;
        let reply = self.server.ping(&server).await;
        reply.map(Response::new).map_err(Status::unavailable)
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyReply>, Status> {
        let unix_user = user_of(&request)?;
        let ApplyRequest {
            mut changes,
            dry_run,
            based_on,
        } = request.into_inner();
        for change in &mut changes {
            change.unix_user = unix_user;
        }
        let applied = changes.len() as u64;
        if dry_run {
            self.must_be_based_on(based_on)?;
            self.try_out(&changes)?;
        } else if applied > 0 {
            let administration = self.clone();
            to_its_end(async move {
                let changed = administration.change(changes, based_on).await;
                administration.note("apply", unix_user, changed).await
            })
            .await?;
        }
        Ok(Response::new(ApplyReply { applied }))
    }

    async fn accept_clock(
        &self,
        request: Request<AcceptClockRequest>,
    ) -> Result<Response<AcceptClockReply>, Status> {
        let unix_user = user_of(&request)?;
        let administration = self.clone();
        let clock = to_its_end(async move {
            let taken = administration.take_clock(unix_user).await;
            administration.note("accept_clock", unix_user, taken).await
        })
        .await?;
        Ok(Response::new(AcceptClockReply { clock }))
    }
}

impl Administration {
    /// Records that something was asked for and refused, and by whom.
    async fn note<T>(
        &self,
        action: &str,
        unix_user: u32,
        outcome: Result<T, Status>,
    ) -> Result<T, Status> {
        if let Err(status) = &outcome {
            let refused = RefusedAction {
                unix_user,
                action: action.to_owned(),
                reason: status.message().chars().take(1024).collect(),
            };
            let recorded = self.server.recorder().record_refused_action(&refused).await;
            let recorded = recorded.is_ok();
            let reason = refused.reason;
            tracing::warn!(
                unix_user,
                action,
                reason,
                recorded,
                "an operator was refused"
            );
        }
        outcome
    }

    /// Takes the clock as it is, and records that.
    async fn take_clock(&self, unix_user: u32) -> Result<i64, Status> {
        let clock = self.server.clock().seconds();
        let newest_record = self.server.recorder().newest_record();
        let accepted = ClockAccepted {
            unix_user,
            clock,
            newest_record,
        };
        let recorded = self.server.recorder().record_clock(&accepted).await;
        recorded.map_err(|refusal| Status::unavailable(refusal.explanation))?;
        tracing::warn!(unix_user, clock, "the clock was accepted as it is");
        Ok(clock)
    }

    /// Changes are made for a state that somebody has seen, and for no other.
    fn must_be_based_on(&self, based_on: Option<u64>) -> Result<(), Status> {
        let changes = self.server.local_state().changes;
        if based_on.is_none_or(|based_on| based_on == changes) {
            return Ok(());
        }
        Err(Status::aborted(
            "somebody else has changed the state meanwhile; look at the difference again",
        ))
    }

    /// Tries the changes on a copy of the state.
    fn try_out(&self, changes: &[Change]) -> Result<(), Status> {
        if changes.len() > CHANGES_LIMIT {
            return Err(Status::invalid_argument("more than 10,000 changes at once"));
        }
        let mut next = (*self.server.local_state()).clone();
        for change in changes {
            next.apply(0, change)
                .map_err(|error| Status::failed_precondition(error.to_string()))?;
        }
        Ok(())
    }

    /// Tries the changes on a copy, and only then records them.
    async fn change(&self, changes: Vec<Change>, based_on: Option<u64>) -> Result<(), Status> {
        let _changing = self.server.changing.lock().await;
        self.must_be_based_on(based_on)?;
        self.try_out(&changes)?;
        let recorded = self.server.recorder().record_changes(&changes).await;
        recorded.map_err(|refusal| Status::unavailable(refusal.explanation))?;
        tracing::info!(changes = changes.len(), "the local state was changed");
        Ok(())
    }
}

/// Brings a change to its end even when the operator's program goes away in the middle: what is
/// recorded is put in force.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Status::internal(error.to_string())))
}

/// The Unix user at the other end of the socket, which only the server's own user can open.
fn user_of<T>(request: &Request<T>) -> Result<u32, Status> {
    request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|connection| connection.peer_cred)
        .map(|credentials| credentials.uid())
        .ok_or_else(|| Status::unauthenticated("the socket does not say who you are"))
}
