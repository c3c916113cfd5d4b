//! The admin API on a Unix socket: the local state is shown and changed; every change is a record.

use std::sync::Arc;

use proto::administration::{
    AcceptClockReply, AcceptClockRequest, ApplyReply, ApplyRequest, ShowReply, ShowRequest,
    security_server_administration_server::{
        SecurityServerAdministration, SecurityServerAdministrationServer,
    },
};
use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{Request, Response, Status, transport::server::UdsConnectInfo};
use trust::wire::evidence::{Change, ClockAccepted};

use crate::server::Server;

/// The most changes one request may carry.
const CHANGES_LIMIT: usize = 10_000;

/// Serves the admin API until `stop` is ready.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: UnixListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = SecurityServerAdministrationServer::new(Administration { server });
    let connections = UnixListenerStream::new(listener).filter(|accepted| {
        accepted
            .as_ref()
            .inspect_err(|error| {
                tracing::warn!(%error, "an admin connection was not accepted");
            })
            .is_ok()
    });
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
        let known = self.server.newest().peek();
        let head = known
            .as_ref()
            .map(|snapshot| snapshot.configuration().head());
        Ok(Response::new(ShowReply {
            state: self.server.local_state().shown().cloned().collect(),
            server: self.server.id().to_string(),
            configuration_serial: head.map_or(0, |head| head.serial()),
            configuration_expires_at: head.map_or(0, |head| head.publication().expires_at),
        }))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyReply>, Status> {
        let unix_user = user_of(&request)?;
        let ApplyRequest {
            mut changes,
            dry_run,
        } = request.into_inner();
        if changes.len() > CHANGES_LIMIT {
            return Err(Status::invalid_argument("more than 10,000 changes at once"));
        }
        for change in &mut changes {
            change.unix_user = unix_user;
        }
        let applied = changes.len() as u64;
        if dry_run {
            self.try_out(&changes)?;
        } else if applied > 0 {
            let administration = self.clone();
            to_its_end(async move { administration.change(changes).await }).await?;
        }
        Ok(Response::new(ApplyReply { applied }))
    }

    async fn accept_clock(
        &self,
        request: Request<AcceptClockRequest>,
    ) -> Result<Response<AcceptClockReply>, Status> {
        let unix_user = user_of(&request)?;
        let administration = self.clone();
        let clock = to_its_end(async move { administration.take_clock(unix_user).await }).await?;
        Ok(Response::new(AcceptClockReply { clock }))
    }
}

impl Administration {
    /// Records that the clock is accepted, then takes it.
    async fn take_clock(&self, unix_user: u32) -> Result<i64, Status> {
        let clock = self.server.clock().seconds();
        let newest_record = self.server.newest_record();
        let accepted = ClockAccepted {
            unix_user,
            clock,
            newest_record,
        };
        let recorded = self.server.recorder().record_clock(&accepted).await;
        recorded.map_err(|refusal| Status::unavailable(refusal.explanation))?;
        self.server.accept_clock(clock);
        tracing::warn!(unix_user, clock, "the clock was accepted as it is");
        Ok(clock)
    }

    /// Tries the changes on a copy of the state.
    fn try_out(&self, changes: &[Change]) -> Result<(), Status> {
        let mut next = (*self.server.local_state()).clone();
        for change in changes {
            next.apply(0, change)
                .map_err(|error| Status::failed_precondition(error.to_string()))?;
        }
        Ok(())
    }

    /// Tries the changes on a copy, records them, and only then puts them in force.
    async fn change(&self, changes: Vec<Change>) -> Result<(), Status> {
        let _changing = self.server.changing.lock().await;
        self.try_out(&changes)?;
        let receipt = self.server.recorder().record_changes(&changes).await;
        let last = receipt
            .map_err(|refusal| Status::unavailable(refusal.explanation))?
            .index();
        // The records stand one after the other, since they were recorded together.
        let first = last + 1 - changes.len() as u64;
        let mut state = (*self.server.local_state()).clone();
        for (index, change) in (first..).zip(&changes) {
            state
                .apply(index, change)
                .map_err(|error| Status::internal(error.to_string()))?;
        }
        self.server.replace_local_state(state);
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
