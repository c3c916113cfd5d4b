//! Where an adapter or a provider listens: on this machine, or for those whom it knows, and until it is told to stop.

use std::{
    fmt, fs::Permissions, future::Future, net::SocketAddr, os::unix::fs::PermissionsExt,
    path::PathBuf, sync::Arc, time::Duration,
};

use rustix::fs::Mode;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::server::{Router, TcpIncoming};

use crate::{
    configuration::Listen,
    error::Error,
    tls_listener::{Known, TlsListener},
};

/// How long calls in progress may take to end once the adapter is told to stop.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// Where a bound adapter is reached, in the form that a security server's state file takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://127.0.0.1:41234`
    Tcp(SocketAddr),
    /// `https://adapter.example.vn:7443`
    Tls(String, u16),
    /// `unix:/run/adapter.sock`
    Unix(PathBuf),
}

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Tls(TlsListener),
    Unix(UnixListener, SocketFile),
}

/// Removes the socket's file when the adapter ends.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Listener {
    /// Whom it knows, if it is for other machines.
    pub(crate) fn known(&self) -> Option<Known> {
        match self {
            Self::Tls(listener) => Some(Arc::clone(&listener.known)),
            Self::Tcp(_) | Self::Unix(..) => None,
        }
    }

    /// Takes an address.
    pub(crate) async fn bind(listen: &Listen) -> Result<(Self, Address), Error> {
        Ok(match listen {
            Listen::Tcp(wanted) => {
                let (listener, address) = bind(*wanted).await?;
                (Self::Tcp(listener), Address::Tcp(address))
            }
            Listen::Tls {
                address,
                name,
                files,
            } => {
                let (listener, address) = bind(*address).await?;
                let listener = TlsListener::new(listener, name, files)?;
                (
                    Self::Tls(listener),
                    Address::Tls(name.clone(), address.port()),
                )
            }
            Listen::Unix {
                path,
                group_may_connect,
            } => {
                let address = Address::Unix(path.clone());
                let failed = |source| Error::Listen {
                    address: address.to_string(),
                    source,
                };
                remove_abandoned_socket(path).await.map_err(failed)?;
                // Whoever may open it may say to be any consumer: there is no moment at which others can.
                let before = rustix::process::umask(Mode::from_raw_mode(0o177));
                let bound = UnixListener::bind(path);
                rustix::process::umask(before);
                let listener = bound.map_err(failed)?;
                if *group_may_connect {
                    let mode = Permissions::from_mode(0o660);
                    std::fs::set_permissions(path, mode).map_err(failed)?;
                }
                (Self::Unix(listener, SocketFile(path.clone())), address)
            }
        })
    }

    /// Answers calls until told to stop, then lets the calls in progress end.
    pub(crate) async fn serve(
        self,
        server: Router,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (stopping, stopped) = oneshot::channel();
        let until = async move {
            stop.await;
            tracing::info!("stopping");
            let _ = stopping.send(());
        };
        let serving = async {
            match self {
                Self::Tcp(listener) => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    server.serve_with_incoming_shutdown(incoming, until).await
                }
                Self::Tls(listener) => {
                    let incoming = listener.incoming();
                    server.serve_with_incoming_shutdown(incoming, until).await
                }
                Self::Unix(listener, _removed_at_the_end) => {
                    let incoming = UnixListenerStream::new(listener);
                    server.serve_with_incoming_shutdown(incoming, until).await
                }
            }
        };
        let out_of_time = async {
            if stopped.await.is_err() {
                // The server ended by itself and has its own result.
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAST_CALLS).await;
        };
        tokio::select! {
            served = serving => served.map_err(|error| Error::Serve(Box::new(error))),
            () = out_of_time => {
                tracing::warn!("calls still in progress were cut");
                Ok(())
            }
        }
    }
}

async fn bind(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen {
        address: wanted.to_string(),
        source,
    };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "http://{address}"),
            Self::Tls(name, port) if name.contains(':') => {
                write!(formatter, "https://[{name}]:{port}")
            }
            Self::Tls(name, port) => write!(formatter, "https://{name}:{port}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Left behind, the next start finds it abandoned and removes it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A socket that nobody listens on any more is in the way; one that is in use is not touched.
async fn remove_abandoned_socket(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            match tokio::net::UnixStream::connect(path).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)
                }
                // Binding will say that the address is in use.
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
