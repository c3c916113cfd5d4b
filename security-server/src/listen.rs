//! Listeners: accept, shake hands, serve HTTP/2; nothing here knows what is called.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use certs::{
    Certificate,
    tls::{describe_chain, peer_certificate_digest},
};
use http::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::sync::CancellationToken;
use trust::Digest;

use crate::{
    crowd::{Crowd, behind},
    http2::{
        received::ReceivedBody,
        server::{self, Responder},
    },
    settings::Limits,
};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection showed of who is at its other end.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// No TLS.
    Nothing,
    /// TLS; the certificate if one was shown, and its digest.
    Tls(Option<(Digest, Certificate)>),
}

/// Answers the requests of one listener.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    /// How much a connection may send ahead of what is read.
    const WINDOW: u32;

    /// The exchanges under way at this server.
    fn crowd(&self) -> Crowd;

    /// Answers one request from a connection, in a task of its own.
    fn answer(
        self,
        shown: Shown,
        request: Request<ReceivedBody>,
        responder: Responder,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// A bound socket.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// A connection that was accepted.
enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    /// Binds `ADDRESS:PORT` or `unix:PATH`. A socket file left by a dead process is replaced.
    pub(crate) async fn bind(address: &str) -> io::Result<Self> {
        let Some(path) = address.strip_prefix("unix:") else {
            return Ok(Self::Tcp(TcpListener::bind(address).await?));
        };
        let path = PathBuf::from(path);
        Ok(Self::Unix(bind_unix(&path)?, path))
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, from))
            }
            Self::Unix(listener, _) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }

    /// Where it listens: `ADDRESS:PORT` or `unix:PATH`.
    pub(crate) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(_, path) => Ok(format!("unix:{}", path.display())),
        }
    }

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .is_ok_and(|at: SocketAddr| at.ip().is_loopback()),
            Self::Unix(..) => true,
        }
    }
}

/// Binds a Unix socket that only this user can reach.
pub(crate) fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(
                io::ErrorKind::AddrInUse,
                format!("{} is in use by a running process", path.display()),
            ));
        }
        std::fs::remove_file(path)?;
    }
    // Under another name until nobody else can open it.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

/// Accepts connections until `closing` is cancelled; then lets those that are open answer what they
/// have taken, and close.
pub(crate) async fn serve<A: Answer>(
    listener: Listener,
    tls: Option<Arc<ServerConfig>>,
    limits: Limits,
    closing: CancellationToken,
    answer: A,
) {
    let places = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::new(limits.connections_per_address);
    let mut connections = JoinSet::new();
    let connection = Connection {
        tls,
        answer,
        calls: limits.calls_per_connection,
        closing: closing.clone(),
    };
    loop {
        while connections.try_join_next().is_some() {}
        // A listener that is full leaves new connections in the backlog of the system.
        let accepting = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?, place))
        };
        let accepted = tokio::select! {
            accepted = accepting => accepted,
            () = closing.cancelled() => break,
        };
        let connection = connection.clone();
        match accepted {
            Ok((Accepted::Tcp(stream, from), place)) => {
                let Some(one) = addresses.enter(from.ip()) else {
                    tracing::info!(%from, "a connection was refused: its address has too many");
                    continue;
                };
                connections.spawn(async move {
                    connection.run(stream, &from.to_string()).await;
                    drop((place, one));
                })
            }
            Ok((Accepted::Unix(stream), place)) => connections.spawn(async move {
                connection.run(stream, "this machine").await;
                drop(place);
            }),
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// How many connections each address has.
#[derive(Clone)]
struct Addresses {
    limit: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of an address, until it is dropped.
struct Counted {
    address: IpAddr,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Arc::default(),
        }
    }

    /// Counts in one more connection; none if the address has as many as it may.
    fn enter(&self, address: IpAddr) -> Option<Counted> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Counted {
            address,
            counts: Arc::clone(&self.counts),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// After a failed accept (no descriptors left, most likely): a moment for others to finish.
pub(crate) async fn pause(error: &io::Error) {
    tracing::warn!(%error, "a connection was not accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// How every connection of a listener is served.
#[derive(Clone)]
struct Connection<A> {
    tls: Option<Arc<ServerConfig>>,
    answer: A,
    calls: u32,
    closing: CancellationToken,
}

impl<A: Answer> Connection<A> {
    async fn run<S>(self, stream: S, from: &str)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(tls) = self.tls.clone() else {
            return self.serve(stream, Shown::Nothing).await;
        };
        match timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates();
                let shown = peer_certificate_digest(chain).zip(
                    chain
                        .and_then(|chain| chain.first())
                        .and_then(|der| Certificate::parse(der).ok()),
                );
                self.serve(stream, Shown::Tls(shown)).await;
            }
            Ok(Err(error)) => {
                let why = describe_chain(&error).unwrap_or_else(|| error.to_string());
                tracing::info!(from, why, "a connection was refused");
            }
            Err(_) => tracing::info!(from, "a connection did not finish its handshake in time"),
        }
    }

    async fn serve<S>(self, stream: S, shown: Shown)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let crowd = self.answer.crowd();
        let answer = |request, responder| {
            let (answer, shown) = (self.answer.clone(), shown.clone());
            answer.answer(shown, request, responder)
        };
        let served = server::serve(stream, A::WINDOW, self.calls, self.closing, answer);
        if let Err(why) = behind(crowd, served).await {
            tracing::debug!(why, "a connection ended");
        }
    }
}
