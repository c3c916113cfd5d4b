//! An adapter that holds its address, and the server that answers for it.

use std::{future::Future, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use durable::Posix;
use tokio::{net::TcpListener, sync::watch};
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    adapter::Adapter,
    error::Error,
    listening::{Address, Listener},
    monitoring,
    reloading::{Current, Reloader},
};

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

impl Adapter {
    /// Takes the configured address.
    pub async fn bind(self) -> Result<BoundAdapter, Error> {
        let (listener, address) = Listener::bind(&self.configuration.listen).await?;
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
            known: self.listener.known(),
            stopping: self.adapter.stopping.clone(),
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
        let health = Health {
            current: Arc::clone(&self.adapter.current),
            reporter,
            service,
            serving: watch::Sender::new(None),
        };
        let monitoring = match self.monitoring {
            None => None,
            Some(listener) => {
                let counted = monitoring::install();
                let counted = counted.map_err(|error| Error::Serve(Box::new(error)))?;
                Some((health.serving.subscribe(), counted, listener))
            }
        };
        let monitored = async {
            match monitoring {
                None => std::future::pending().await,
                Some((answers, counted, listener)) => {
                    monitoring::serve(answers, counted, listener).await
                }
            }
        };
        // Whoever asks first is told how it is, not that nobody has looked yet.
        health.look().await;
        let watch = health.watch();
        let server = Server::builder()
            // More than are admitted, so that those which are not are told at once and do not wait in their clients.
            .max_concurrent_streams(u32::try_from(streams.saturating_add(MORE_STREAMS)).ok())
            .tcp_nodelay(true)
            .add_routes(routes);
        let stopping = self.adapter.stopping.clone();
        let stop = async move {
            stop.await;
            stopping.send_replace(true);
        };
        tokio::select! {
            served = self.listener.serve(server, stop) => served,
            never = watch => match never {},
            ended = monitored => match ended {
                Ok(()) => Err(Error::Serve("the monitoring pages ended by themselves".into())),
                Err(error) => Err(Error::Serve(Box::new(error))),
            },
        }
    }
}

/// What the health service and the pages of monitoring say, by asking the database now and then.
struct Health {
    current: Arc<ArcSwap<Current>>,
    reporter: HealthReporter,
    service: String,
    serving: watch::Sender<Option<bool>>,
}

impl Health {
    async fn watch(self) -> std::convert::Infallible {
        let mut interval = tokio::time::interval(HEALTH_INTERVAL);
        loop {
            interval.tick().await;
            self.look().await;
        }
    }

    async fn look(&self) {
        let probed = self.current.load().database.probe().await;
        if self.serving.send_replace(Some(probed.is_ok())) == Some(probed.is_ok()) {
            return;
        }
        if let Err(error) = &probed {
            tracing::warn!(%error, "the database does not answer");
        }
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
