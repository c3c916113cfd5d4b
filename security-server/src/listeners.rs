//! What each listener answers: client systems, other security servers, and health.

use std::sync::Arc;

use http::Request;
use trust::SubsystemId;

use crate::{
    client_call::ConnectionIdentity,
    consume,
    crowd::Crowd,
    grpc::unary::{code, give, refused},
    health,
    http2::{
        line::{OF_CLIENT, OF_SHARED},
        received::ReceivedBody,
        server::Responder,
    },
    listen::{Answer, Shown},
    peer_log::{self, answer::CHECKPOINT_PATH},
    provide,
    server::Server,
    stage::forward::EXCHANGE_PATH,
};

/// Answers client systems.
#[derive(Clone)]
pub(crate) struct ForClients {
    pub(crate) server: Arc<Server>,
    /// The subsystem of a plaintext listener; none on the TLS listener.
    pub(crate) subsystem: Option<SubsystemId>,
    /// The static route of the listener.
    pub(crate) service: Option<SubsystemId>,
}

impl Answer for ForClients {
    const WINDOW: u32 = OF_CLIENT;

    fn crowd(&self) -> Crowd {
        self.server.exchanges().crowd()
    }

    async fn answer(self, shown: Shown, request: Request<ReceivedBody>, responder: Responder) {
        let server = self.server;
        if request.uri().path().starts_with(health::SERVICE_PREFIX) {
            return give(responder, health::answer(&server, request).await).await;
        }
        let identity = match (self.subsystem, shown) {
            (Some(subsystem), _) => ConnectionIdentity::Listener(subsystem),
            (None, Shown::Tls(shown)) => ConnectionIdentity::Tls(shown.map(|(_, shown)| shown)),
            (None, Shown::Nothing) => ConnectionIdentity::Tls(None),
        };
        consume::answer(&server, request, responder, identity, self.service).await;
    }
}

/// Answers other security servers.
#[derive(Clone)]
pub(crate) struct ForPeers {
    pub(crate) server: Arc<Server>,
}

impl Answer for ForPeers {
    const WINDOW: u32 = OF_SHARED;

    fn crowd(&self) -> Crowd {
        self.server.exchanges().crowd()
    }

    async fn answer(self, shown: Shown, request: Request<ReceivedBody>, responder: Responder) {
        let Shown::Tls(Some((certificate, _))) = shown else {
            let what = "a security server shows a certificate";
            return give(responder, Err(refused(code::UNIMPLEMENTED, what))).await;
        };
        let server = self.server;
        let (head, body) = request.into_parts();
        match head.uri.path() {
            EXCHANGE_PATH => provide::answer(&server, certificate, body, responder).await,
            CHECKPOINT_PATH => {
                let answer = peer_log::answer::answer(server, certificate, body).await;
                give(responder, answer).await;
            }
            _ => {
                let what = "security servers offer each other Exchange and GetCheckpoint";
                give(responder, Err(refused(code::UNIMPLEMENTED, what))).await;
            }
        }
    }
}
