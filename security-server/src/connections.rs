//! Outgoing HTTP/2 connections, kept open and shared: to other security servers and to adapters.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex},
    time::Duration,
};

use certs::tls::{
    PeerTls, RegisteredServers, describe_chain, keep_alive, peer_certificate_digest, peer_name,
};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use trust::{Reason, Refusal, ServerId};

use crate::{
    crowd::Crowd,
    http2::{
        client::{Connection, open},
        line::Listening,
    },
    local_state::AdapterAddress,
    snapshot::Newest,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so much silence another server is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One slot for each destination, so that only one caller connects at a time.
struct Slots<K> {
    slots: Mutex<HashMap<K, Arc<tokio::sync::Mutex<Slot>>>>,
}

/// What is known of one destination.
#[derive(Default)]
struct Slot {
    open: Option<Connection>,
    /// The last attempt, when it failed: told to all who waited for it.
    failed: Option<(Instant, Refusal)>,
}

impl<K: Hash + Eq + Clone> Slots<K> {
    fn new() -> Self {
        Self {
            slots: Mutex::new(HashMap::new()),
        }
    }

    /// Exchanges under way keep their connections; new ones get new connections.
    fn forget(&self) {
        self.slots
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
    }

    /// The open connection, if it is still usable, or a new one.
    async fn connection<F>(
        &self,
        key: &K,
        usable: impl Fn(&Connection) -> bool,
        connect: impl FnOnce() -> F,
    ) -> Result<Connection, Refusal>
    where
        F: Future<Output = Result<Connection, Refusal>>,
    {
        let slot = {
            let mut slots = self
                .slots
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(slots.entry(key.clone()).or_default())
        };
        let asked = Instant::now();
        let mut slot = slot.lock().await;
        let open = slot
            .open
            .as_ref()
            .filter(|open| open.is_open() && usable(open));
        if let Some(open) = open {
            return Ok(open.clone());
        }
        if let Some((_, refusal)) = slot.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(refusal.clone());
        }
        let opened = Box::pin(connect()).await;
        slot.failed = opened
            .as_ref()
            .err()
            .map(|refusal| (Instant::now(), refusal.clone()));
        slot.open = opened.as_ref().ok().cloned();
        opened
    }
}

/// Connections to other security servers.
pub(crate) struct PeerConnections {
    tls: PeerTls,
    newest: Arc<Newest>,
    crowd: Crowd,
    slots: Slots<(ServerId, String)>,
}

impl PeerConnections {
    pub(crate) fn new(tls: PeerTls, newest: Arc<Newest>, crowd: Crowd) -> Self {
        Self {
            tls,
            newest,
            crowd,
            slots: Slots::new(),
        }
    }

    /// Opens new connections from now on, with the certificate that is shown now.
    pub(crate) fn renew(&self) {
        self.slots.forget();
    }

    /// The TLS of connections between security servers.
    pub(crate) const fn tls(&self) -> &PeerTls {
        &self.tls
    }

    /// A connection to `server` at `address`, open or opened now.
    ///
    /// # Errors
    /// `PeerUnreachable` with what was tried and seen.
    pub(crate) async fn to(&self, server: &ServerId, address: &str) -> Result<Connection, Refusal> {
        let key = (server.clone(), address.to_owned());
        let usable = |open: &Connection| self.is_registered(open, server);
        self.slots
            .connection(&key, usable, || self.connect(server, address))
            .await
    }

    /// A connection outlives the registration of the certificate that it was opened with.
    fn is_registered(&self, open: &Connection, server: &ServerId) -> bool {
        let certificate = open.certificate.as_ref();
        let named = certificate.and_then(|digest| self.newest.server_of(digest));
        named.as_ref() == Some(server)
    }

    async fn connect(&self, server: &ServerId, address: &str) -> Result<Connection, Refusal> {
        let unreachable = |what: String| {
            Refusal::new(
                Reason::PeerUnreachable,
                format!("{server} at {address}: {what}"),
            )
        };
        let tls = self
            .tls
            .connector(server)
            .map_err(|error| unreachable(error.to_string()))?;
        let opening = async {
            let stream = TcpStream::connect(address)
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            let stream = TlsConnector::from(tls)
                .connect(peer_name(), stream)
                .await
                .map_err(|error| words(&error))?;
            let certificate = peer_certificate_digest(stream.get_ref().1.peer_certificates());
            let listening = Listening::WhileCalled(KEEP_ALIVE);
            let connection = open(stream, listening, self.crowd.clone())
                .await
                .map_err(|error| error.to_string())?;
            Ok(connection.showing(certificate))
        };
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(unreachable),
            Err(_) => Err(unreachable("no connection within ten seconds".to_owned())),
        }
    }
}

/// Connections to the adapters of this server's services.
pub(crate) struct AdapterConnections {
    /// For those on other machines; none if there are none.
    tls: Option<Arc<ClientConfig>>,
    crowd: Crowd,
    slots: Slots<AdapterAddress>,
}

impl AdapterConnections {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>, crowd: Crowd) -> Self {
        Self {
            tls,
            crowd,
            slots: Slots::new(),
        }
    }

    /// A connection to the adapter, open or opened now.
    ///
    /// # Errors
    /// `AdapterUnreachable`; the text names no address, since it goes to the caller.
    pub(crate) async fn to(&self, address: &AdapterAddress) -> Result<Connection, Refusal> {
        self.slots
            .connection(address, |_| true, || self.connect(address))
            .await
    }

    async fn connect(&self, address: &AdapterAddress) -> Result<Connection, Refusal> {
        let crowd = self.crowd.clone();
        let opening = async {
            let connection = match address {
                AdapterAddress::Loopback(socket) => {
                    let stream = TcpStream::connect(socket)
                        .await
                        .map_err(|e| e.to_string())?;
                    stream
                        .set_nodelay(true)
                        .map_err(|error| error.to_string())?;
                    open(stream, Listening::Never, crowd).await
                }
                AdapterAddress::Tls { host, port } => {
                    let tls = self.tls.clone().ok_or_else(|| {
                        "it is on another machine, and server.toml has no [adapters]".to_owned()
                    })?;
                    let name = ServerName::try_from(host.clone()).map_err(|e| e.to_string())?;
                    let stream = TcpStream::connect((host.as_str(), *port))
                        .await
                        .map_err(|e| e.to_string())?;
                    let prepared = stream.set_nodelay(true).and_then(|()| keep_alive(&stream));
                    prepared.map_err(|e| e.to_string())?;
                    let stream = TlsConnector::from(tls)
                        .connect(name, stream)
                        .await
                        .map_err(|error| words(&error))?;
                    open(stream, Listening::Never, crowd).await
                }
                AdapterAddress::Unix(path) => {
                    open(
                        UnixStream::connect(path).await.map_err(|e| e.to_string())?,
                        Listening::Never,
                        crowd,
                    )
                    .await
                }
            };
            connection.map_err(|error| error.to_string())
        };
        let problem = match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(problem)) => problem,
            Err(_) => "no connection within ten seconds".to_owned(),
        };
        tracing::warn!(?address, problem, "the adapter cannot be reached");
        Err(Refusal::new(
            Reason::AdapterUnreachable,
            "the adapter of the service does not answer",
        ))
    }
}

/// An error in words: those of TLS when it was TLS that failed.
fn words(error: &(dyn std::error::Error + 'static)) -> String {
    describe_chain(error).unwrap_or_else(|| error.to_string())
}
