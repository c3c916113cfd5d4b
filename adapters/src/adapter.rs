//! An adapter that has been proven to fit its database, and the server that answers for it.

use std::{
    collections::BTreeMap, fmt, fs::Permissions, future::Future, net::SocketAddr,
    os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration,
};

use arc_swap::ArcSwap;
use durable::Posix;
use rustix::fs::Mode;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Semaphore, oneshot},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

use crate::{
    configuration::{Configuration, Listen, Method, MethodKind, Note, RECORDS},
    database::Database,
    error::Error,
    granting::{GrantedMethod, ServedGrant},
    inspection::{Fit, Misfit, Unfit, fit_method, open_for_reading, open_for_writing},
    lock::Lock,
    method_service::MethodService,
    monitoring,
    reloading::{Current, Reloader, Unchanged},
    schema::Schema,
    served_method::{Parameter, ReplyColumn, ServedMethod},
};

/// How long calls in progress may take to end once the adapter is told to stop.
const LAST_CALLS: Duration = Duration::from_secs(10);

/// How often the health service asks the database.
const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// A service over a database, ready to be bound to its address.
#[derive(Debug)]
pub struct Adapter {
    configuration: Configuration,
    schema: Schema,
    current: Arc<ArcSwap<Current>>,
}

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
    /// Opens a configuration: its lock must cover it and every statement must fit the database.
    pub async fn open(configuration: Configuration) -> Result<Self, Error> {
        let lock_path = configuration.lock_path();
        let lock = Lock::read(&lock_path)?;
        lock.require_cover(&lock_path, &configuration)?;
        let schema = Schema::write(&configuration, &lock)?;
        let failed = |source| Error::Database {
            database: configuration.database.source.to_string(),
            source,
        };
        let writers = open_for_writing(&configuration).await?;
        let database = open_for_reading(&configuration).await?;
        let engine = configuration.database.source.engine();
        let admission = Arc::new(Semaphore::new(configuration.limits.concurrent_calls));
        let mut methods = BTreeMap::new();
        let mut misfits = Vec::new();
        let grants = configuration
            .grants
            .iter()
            .map(|grant| Arc::new(ServedGrant::new(grant)));
        let grants: Vec<_> = grants.collect();
        for method in &configuration.methods {
            let mut answers = Vec::new();
            for (grant, method) in method.answered() {
                match fit_method(method, &database, writers.as_ref(), engine).await {
                    Ok(fit) => {
                        let grant = grant.and_then(|grant| grants.get(grant)).map(Arc::clone);
                        let served = served_method(
                            &configuration,
                            &schema,
                            (method, grant.as_deref().map_or("", ServedGrant::name)),
                            fit,
                            database.clone(),
                            Arc::clone(&admission),
                        )?;
                        answers.push((grant, Arc::new(served)));
                    }
                    Err(Unfit::Database(error)) => return Err(failed(error)),
                    Err(Unfit::Faults(faults)) => {
                        misfits.extend(faults.into_iter().map(|fault| Misfit {
                            method: method.name.clone(),
                            fault,
                        }))
                    }
                }
            }
            let name = method.name.clone();
            methods.insert(name.clone(), Arc::new(GrantedMethod { name, answers }));
        }
        if misfits.is_empty() {
            Ok(Self {
                configuration,
                schema,
                current: Arc::new(ArcSwap::from_pointee(Current { database, methods })),
            })
        } else {
            Err(Error::Misfits(misfits))
        }
    }

    /// The published form of the service.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    pub(crate) fn unchanged(&self) -> Unchanged {
        Unchanged {
            proto: self.schema.text.clone(),
            listen: self.configuration.listen.clone(),
            monitoring: self.configuration.monitoring,
        }
    }

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

    fn routes(&self) -> Result<(Routes, HealthReporter), Error> {
        let (reporter, health) = health_reporter();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(&self.schema.descriptors)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let failed = |error: tonic_reflection::server::Error| Error::Serve(Box::new(error));
        let mut router = Routes::new(health)
            .add_service(reflection().build_v1().map_err(failed)?)
            // Clients in other languages still ask by this name.
            .add_service(reflection().build_v1alpha().map_err(failed)?)
            .into_axum_router();
        for method in &self.configuration.methods {
            let path = format!("/{}/{}", self.configuration.service, method.name);
            let service = MethodService {
                current: Arc::clone(&self.current),
                method: method.name.clone(),
            };
            router = router.route_service(&path, service);
        }
        Ok((Routes::from(router).prepare(), reporter))
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
            .max_concurrent_streams(u32::try_from(streams).ok())
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

fn served_method(
    configuration: &Configuration,
    schema: &Schema,
    (method, grant): (&Method, &str),
    fit: Fit,
    database: Database,
    admission: Arc<Semaphore>,
) -> Result<ServedMethod, Error> {
    let package = &configuration.service.package;
    let request = schema.message(package, &method.request_message())?;
    let reply = schema.message(package, &method.record_message())?;
    let batch = match method.kind {
        MethodKind::Batches => {
            let batch = schema.message(package, &method.reply_message())?;
            batch
                .get_field_by_name(RECORDS)
                .map(|records| (batch, records))
        }
        MethodKind::Unary | MethodKind::ServerStreaming => None,
    };
    let widths = method.statement.widths.iter();
    let parameters = method
        .request
        .iter()
        .zip(widths)
        .filter_map(|(field, width)| {
            Some(Parameter {
                descriptor: request.get_field_by_name(&field.name)?,
                field: field.clone(),
                width: *width,
            })
        });
    let columns = method
        .reply
        .iter()
        .zip(fit.positions)
        .filter_map(|(field, positions)| {
            Some(ReplyColumn {
                positions,
                descriptor: reply.get_field_by_name(&field.name)?,
                field_type: field.field_type,
                rules: field.rules.clone(),
            })
        });
    Ok(ServedMethod {
        parameters: parameters.collect(),
        columns: columns.collect(),
        undecodable: reply.get_field_by_name(Note::Undecodable.field()),
        withheld: reply.get_field_by_name(Note::Withheld.field()),
        method: method.clone(),
        grant: grant.to_owned(),
        request,
        reply,
        batch,
        statement: fit.statement,
        write: fit.write,
        database,
        limits: configuration.limits,
        admission,
    })
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
