//! What each listener answers: client systems, other security servers, and health.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use trust::SubsystemId;

use crate::{
    client_call::ConnectionIdentity,
    consume,
    crowd::Crowd,
    grpc::{
        body::WrittenBody,
        unary::{code, refused},
    },
    health,
    listen::{Answer, OF_CLIENT, SHARED, Shown, Windows},
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
    const WINDOWS: Windows = OF_CLIENT;

    fn crowd(&self) -> Crowd {
        self.server.exchanges().crowd()
    }

    async fn answer(&self, shown: Shown, request: Request<Incoming>) -> Response<WrittenBody> {
        if request.uri().path().starts_with(health::SERVICE_PREFIX) {
            return health::answer(&self.server, request).await;
        }
        let identity = match (&self.subsystem, shown) {
            (Some(subsystem), _) => ConnectionIdentity::Listener(subsystem.clone()),
            (None, Shown::Tls(shown)) => ConnectionIdentity::Tls(shown.map(|(_, shown)| shown)),
            (None, Shown::Nothing) => ConnectionIdentity::Tls(None),
        };
        consume::answer(
            Arc::clone(&self.server),
            request,
            identity,
            self.service.clone(),
        )
        .await
    }
}

/// Answers other security servers.
#[derive(Clone)]
pub(crate) struct ForPeers {
    pub(crate) server: Arc<Server>,
}

impl Answer for ForPeers {
    const WINDOWS: Windows = SHARED;

    fn crowd(&self) -> Crowd {
        self.server.exchanges().crowd()
    }

    async fn answer(&self, shown: Shown, request: Request<Incoming>) -> Response<WrittenBody> {
        let Shown::Tls(Some((certificate, _))) = shown else {
            return refused(code::UNIMPLEMENTED, "a security server shows a certificate");
        };
        let server = Arc::clone(&self.server);
        match request.uri().path() {
            EXCHANGE_PATH => provide::answer(server, certificate, request.into_body()).await,
            CHECKPOINT_PATH => {
                peer_log::answer::answer(server, certificate, request.into_body()).await
            }
            _ => {
                let what = "security servers offer each other Exchange and GetCheckpoint";
                refused(code::UNIMPLEMENTED, what)
            }
        }
    }
}
