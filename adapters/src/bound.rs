//! An adapter that holds its address, and the server that answers for it.

use std::{
    fmt, fs::Permissions, future::Future, net::SocketAddr, os::unix::fs::PermissionsExt,
    path::PathBuf, sync::Arc, time::Duration,
};

use arc_swap::ArcSwap;
use durable::Posix;
use rustix::fs::Mode;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::oneshot,
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    adapter::Adapter,
    configuration::Listen,
    error::Error,
    monitoring,
    reloading::{Current, Reloader},
};

/// How long calls in progress may take to end once the adapter is told to stop.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// Calls on one connection beyond those that are admitted.
const MORE_STREAMS: usize = 256;

/// How often the health service asks the database.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// An adapter that holds its address; calls wait until it serves.
#[derive(Debug)]
pub struct BoundAdapter {
    adapter: Adapter,
    listener: Listener,
    address: Address,
    monitoring: Option<TcpListener>,
}

/// Where a bound adapter is reached, in the form that a security server's state file takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http://127.0.0.1:41234`
    Tcp(SocketAddr),
    /// `unix:/run/adapter.sock`
    Unix(PathBuf),
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Removes the socket's file when the adapter ends.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl Adapter {
    /// Takes the configured address.
    pub async fn bind(self) -> Result<BoundAdapter, Error> {
        let (listener, address) = match &self.configuration.listen {
            Listen::Tcp(wanted) => {
                let failed = |source| Error::Listen {
                    address: wanted.to_string(),
                    source,
                };
                let listener = TcpListener::bind(wanted).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                (Listener::Tcp(listener), Address::Tcp(address))
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
                (Listener::Unix(listener, SocketFile(path.clone())), address)
            }
        };
        let monitoring = match self.configuration.monitoring {
            None => None,
            Some(wanted) => {
                let failed = |source| Error::Listen {
                    address: wanted.to_string(),
                    source,
                };
                let listener = TcpListener::bind(wanted).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                tracing::info!(%address, "monitoring");
                Some(listener)
            }
        };
        Ok(BoundAdapter {
            adapter: self,
            listener,
            address,
            monitoring,
        })
    }
}

impl BoundAdapter {
    /// Where callers reach it, with the port that was taken.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What gives it another configuration while it serves.
    pub fn reloader(&self) -> Reloader {
        Reloader {
            current: Arc::clone(&self.adapter.current),
            unchanged: self.adapter.unchanged(),
        }
    }

    /// Writes the address as the one line of a file, in one step, for whoever started this.
    pub fn write_address(&self, path: &std::path::Path) -> Result<(), Error> {
        let line = format!("{}\n", self.address);
        durable::replace(&Posix, path, line.as_bytes(), 0o644).map_err(|source| Error::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Answers calls until told to stop, then lets the calls in progress end.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Error> {
        let (routes, reporter) = self.adapter.routes()?;
        let service = self.adapter.configuration.service.to_string();
        let streams = self.adapter.configuration.limits.concurrent_calls;
        let mut health = Health {
            current: Arc::clone(&self.adapter.current),
            reporter,
            service,
            serving: None,
        };
        let monitoring = match self.monitoring {
            None => None,
            Some(listener) => {
                let counted = monitoring::install();
                let counted = counted.map_err(|error| Error::Serve(Box::new(error)))?;
                Some((Arc::clone(&self.adapter.current), counted, listener))
            }
        };
        let monitored = async {
            match monitoring {
                None => std::future::pending().await,
                Some((current, counted, listener)) => {
                    monitoring::serve(current, counted, listener).await
                }
            }
        };
        // Whoever asks first is told how it is, not that nobody has looked yet.
        health.look().await;
        let watch = health.watch();
        let (stopping, stopped) = oneshot::channel();
        let until = async move {
            stop.await;
            tracing::info!("stopping");
            let _ = stopping.send(());
        };
        let server = Server::builder()
            // More than are admitted, so that those which are not are told at once and do not wait in their clients.
            .max_concurrent_streams(u32::try_from(streams.saturating_add(MORE_STREAMS)).ok())
            .tcp_nodelay(true)
            .add_routes(routes);
        let serving = async {
            match self.listener {
                Listener::Tcp(listener) => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    server.serve_with_incoming_shutdown(incoming, until).await
                }
                Listener::Unix(listener, _removed_at_the_end) => {
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
            never = watch => match never {},
            ended = monitored => match ended {
                Ok(()) => Err(Error::Serve("the monitoring pages ended by themselves".into())),
                Err(error) => Err(Error::Serve(Box::new(error))),
            },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "http://{address}"),
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

/// What the health service says, by asking the database now and then.
struct Health {
    current: Arc<ArcSwap<Current>>,
    reporter: HealthReporter,
    service: String,
    serving: Option<bool>,
}

impl Health {
    async fn watch(mut self) -> std::convert::Infallible {
        let mut interval = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            interval.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let probed = self.current.load().database.probe().await;
        if self.serving == Some(probed.is_ok()) {
            return;
        }
        if let Err(error) = &probed {
            tracing::warn!(%error, "the database does not answer");
        }
        self.serving = Some(probed.is_ok());
        let status = if probed.is_ok() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in ["", &self.service] {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
