//! Connections from other machines: over mutual TLS, from security servers whose certificates are known, and from nobody else.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use certs::{
    Role,
    tls::{ReplaceableIdentity, adapter_listener, describe_chain, read_callers},
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

/// Handshakes at once; whoever comes then waits.
const HANDSHAKES: usize = 64;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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
pub(crate) fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, Error> {
    let identity = ReplaceableIdentity::load(Role::Listener, &files.certificate, &files.key)?;
    let callers = read_callers(&files.callers)?;
    adapter_listener(identity, callers).map_err(|error| Error::Serve(Box::new(error)))
}

impl TlsListener {
    pub(crate) fn new(listener: TcpListener, files: &TlsFiles) -> Result<Self, Error> {
        let known = Arc::new(ArcSwap::new(read(files)?));
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
            let acceptor = TlsAcceptor::from(self.known.load_full());
            let shaken = shaken.clone();
            handshakes.spawn(async move {
                let _place = place;
                let _ = stream.set_nodelay(true);
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
                tracing::warn!(%from, problem, "a connection was refused");
            });
        }
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
