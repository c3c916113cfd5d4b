//! Outgoing HTTP/2 connections, kept open and shared: to other security servers and to adapters.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use certs::tls::{PeerTls, RegisteredServers, describe_chain, peer_certificate_digest, peer_name};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::http2::{Builder, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use trust::{Digest, Reason, Refusal, ServerId};

use crate::{
    crowd::{Crowd, behind},
    grpc::body::WrittenBody,
    listen::SHARED,
    local_state::AdapterAddress,
    snapshot::Newest,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the end of a connection is waited for, to say why a call on it broke off.
const END_PATIENCE: Duration = Duration::from_millis(200);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// So many calls that were given up are remembered, as long as a connection can be silent: what is
/// still under way to them is no mistake of the other side, for which a connection is closed.
const GIVEN_UP: usize = 1024;

/// An open connection.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<WrittenBody>,
    /// Digest of the TLS certificate at the other end; none without TLS.
    pub(crate) certificate: Option<Digest>,
    /// Once it has ended: what TLS said, if it was TLS that ended it.
    ended: watch::Receiver<Option<Option<String>>>,
    /// Whether the other side has ever answered on it.
    answered: Arc<AtomicBool>,
}

impl Connection {
    /// Starts a call. The request is sent once: it is never repeated on another connection.
    pub(crate) async fn call(
        &mut self,
        request: Request<WrittenBody>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let response = self.requests.send_request(request).await?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(response)
    }

    /// Why a call on this connection broke off. With TLS 1.3 a side whose certificate is refused
    /// learns of it after it has sent, and then from the connection, not from the call.
    pub(crate) async fn why(&mut self, error: &hyper::Error) -> String {
        if let Some(words) = describe_chain(error) {
            return words;
        }
        let ended = timeout(END_PATIENCE, self.ended.wait_for(Option::is_some)).await;
        let said = match ended {
            Ok(Ok(ended)) => ended.clone().flatten(),
            Ok(Err(_)) | Err(_) => None,
        };
        // The alert that says so may be lost when the connection is cut behind it.
        let unanswered = !self.answered.load(Ordering::Relaxed) && self.certificate.is_some();
        said.unwrap_or_else(|| match unanswered {
            true => format!(
                "{error}, before it has ever answered on this connection: it may have refused our \
                 certificate; its log says so, and compare `certs show` with the registry"
            ),
            false => error.to_string(),
        })
    }
}

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
            .filter(|open| !open.requests.is_closed() && usable(open));
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
            let connection = open(stream, self.crowd.clone())
                .await
                .map_err(|error| error.to_string())?;
            Ok(Connection {
                certificate,
                ..connection
            })
        };
        match timeout(CONNECT_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(unreachable),
            Err(_) => Err(unreachable("no connection within ten seconds".to_owned())),
        }
    }
}

/// Connections to the adapters of this server's services.
pub(crate) struct AdapterConnections {
    crowd: Crowd,
    slots: Slots<AdapterAddress>,
}

impl AdapterConnections {
    pub(crate) fn new(crowd: Crowd) -> Self {
        Self {
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
                    open(stream, crowd).await
                }
                AdapterAddress::Unix(path) => {
                    open(
                        UnixStream::connect(path).await.map_err(|e| e.to_string())?,
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
pub(crate) fn words(error: &(dyn std::error::Error + 'static)) -> String {
    describe_chain(error).unwrap_or_else(|| error.to_string())
}

/// The HTTP/2 handshake; the connection then lives in its own task until either side closes it.
pub(crate) async fn open<S>(stream: S, crowd: Crowd) -> Result<Connection, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let spawning = ConnectionBehind {
        crowd,
        is_spawned: Arc::default(),
    };
    let (requests, connection) = Builder::new(spawning)
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_reset_streams(GIVEN_UP)
        .reset_stream_duration(KEEP_ALIVE + KEEP_ALIVE)
        .initial_stream_window_size(SHARED.stream)
        .initial_connection_window_size(SHARED.connection)
        .handshake(TokioIo::new(stream))
        .await?;
    let (told, ended) = watch::channel(None);
    tokio::spawn(async move {
        let error = connection.await.err();
        if let Some(error) = &error {
            tracing::debug!(error = words(error), "a connection ended");
        }
        let said = error.and_then(|error| describe_chain(&error));
        told.send_replace(Some(said));
    });
    Ok(Connection {
        requests,
        certificate: None,
        ended,
        answered: Arc::default(),
    })
}

/// Spawns what hyper spawns for a connection: the connection itself, behind others; and then what
/// belongs to its calls.
#[derive(Clone)]
struct ConnectionBehind {
    crowd: Crowd,
    is_spawned: Arc<AtomicBool>,
}

impl<F> Executor<F> for ConnectionBehind
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if self.is_spawned.swap(true, Ordering::Relaxed) {
            tokio::spawn(task);
        } else {
            tokio::spawn(behind(self.crowd.clone(), task));
        }
    }
}
