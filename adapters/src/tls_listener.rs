//! Connections from other machines: over mutual TLS, from security servers whose certificates are known, and from nobody else.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use certs::{
    Role,
    tls::{ReplaceableIdentity, adapter_listener, describe_chain, keep_alive, read_callers},
};
use futures_util::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tonic::transport::server::Connected;

use crate::{configuration::TlsFiles, error::Error};

/// Handshakes at once, and of one address: whoever comes beyond the first waits, beyond the second is cut off.
const HANDSHAKES: usize = 64;
const OF_ONE_ADDRESS: usize = HANDSHAKES / 4;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// So many lines a minute tell of connections that were refused.
const LINES: u32 = 10;
/// How long nothing more is accepted after the system has refused, out of files for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Who the adapter is and whom it knows; replaced while it serves, for the connections that come then.
pub(crate) type Known = Arc<ArcSwap<ServerConfig>>;

/// A port that is listened on over TLS.
#[derive(Debug)]
pub(crate) struct TlsListener {
    listener: TcpListener,
    pub(crate) known: Known,
}

/// The connections whose other end is known; none is accepted any more when it is dropped.
pub(crate) struct Incoming {
    connections: mpsc::Receiver<Connection>,
    _accepting: JoinSet<()>,
}

/// One of them.
pub(crate) struct Connection(TlsStream<TcpStream>);

/// What the files say now.
pub(crate) fn read(name: &str, files: &TlsFiles) -> Result<Arc<ServerConfig>, Error> {
    let identity = ReplaceableIdentity::load(Role::Listener, &files.certificate, &files.key)?;
    let shown = identity.certificate();
    if !shown.names().iter().any(|known| is_good_for(known, name)) {
        return Err(Error::NotNamed {
            certificate: files.certificate.clone(),
            name: name.to_owned(),
            names: shown.names().join(", "),
        });
    }
    let callers = read_callers(&files.callers)?;
    adapter_listener(identity, callers).map_err(|error| Error::Serve(Box::new(error)))
}

/// Whether a name of a certificate, of which the first part may be an asterisk, is this one.
fn is_good_for(known: &str, name: &str) -> bool {
    let rest = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_lowercase());
    known.eq_ignore_ascii_case(name) || (known.starts_with("*.") && rest(known) == rest(name))
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, name: &str, files: &TlsFiles) -> Result<Self, Error> {
        let known = Arc::new(ArcSwap::new(read(name, files)?));
        Ok(Self { listener, known })
    }

    pub(crate) fn incoming(self) -> Incoming {
        let (shaken, connections) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(self.accept(shaken));
        Incoming {
            connections,
            _accepting: accepting,
        }
    }

    async fn accept(self, shaken: mpsc::Sender<Connection>) {
        let places = Arc::new(Semaphore::new(HANDSHAKES));
        let mut handshakes = JoinSet::new();
        let (under_way, lines) = (UnderWay::default(), Lines::default());
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            let (stream, from) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            while handshakes.try_join_next().is_some() {}
            let Some(of_address) = under_way.enter(from.ip()) else {
                drop(stream);
                continue;
            };
            let acceptor = TlsAcceptor::from(self.known.load_full());
            let (shaken, lines) = (shaken.clone(), lines.clone());
            handshakes.spawn(async move {
                let (_place, _of_address) = (place, of_address);
                // A connection without these works as well, and is only found dead later.
                let _ = stream.set_nodelay(true).and_then(|()| keep_alive(&stream));
                let accepted = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
                let problem = match accepted {
                    Ok(Ok(stream)) => {
                        // Nobody takes it any more when the adapter stops.
                        let _ = shaken.send(Connection(stream)).await;
                        return;
                    }
                    Ok(Err(error)) => describe_chain(&error).unwrap_or_else(|| error.to_string()),
                    Err(_too_long) => "the handshake took too long".to_owned(),
                };
                if lines.may_be_written() {
                    tracing::warn!(%from, problem, "a connection was refused");
                }
            });
        }
    }
}

/// How many handshakes each address has under way.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One of them.
struct OfAddress(UnderWay, IpAddr);

impl UnderWay {
    /// None if the address has too many.
    fn enter(&self, address: IpAddr) -> Option<OfAddress> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if *count >= OF_ONE_ADDRESS {
            return None;
        }
        *count += 1;
        Some(OfAddress(self.clone(), address))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Lines that anybody can have written, so that nobody fills a disk with them.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Option<(Instant, u32)>>>);

impl Lines {
    fn may_be_written(&self) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = written
            .filter(|(since, _)| since.elapsed() < Duration::from_secs(60))
            .unwrap_or_else(|| (Instant::now(), 0));
        *written = Some((since, count.saturating_add(1)));
        count < LINES
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections
            .poll_recv(context)
            .map(|connection| connection.map(Ok))
    }
}

/// Who is at the other end is known by then, and is always a security server.
impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
