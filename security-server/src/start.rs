//! Starting and stopping a security server: what is opened, in which order, and how it ends.

mod background;
mod error;

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use certs::{
    LogKey,
    tls::{PeerTls, adapter_connector, client_listener, read_authorities},
};
use durable::Posix;
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use trust::configuration::Anchor;
use verifiable_log::Log;

use crate::{
    admin,
    connections::{AdapterConnections, PeerConnections},
    counting,
    exchange::OpenExchanges,
    grpc::budget::Budgets,
    identities::Identities,
    listen::{Listener, bind_unix, serve},
    listeners::{ForClients, ForPeers},
    log,
    machine::Machine,
    monitoring, open_files,
    peer_log::ask::follow,
    recollection::kept::RecollectionFile,
    recorder::Recorder,
    retention::keep_term,
    server::{Parts, Server},
    settings::Settings,
    signer::Signers,
    snapshot::Newest,
    source::{ConfigurationSource, KeptConfiguration},
    subjects::{DataSubjects, Descriptors, read_key},
};

use background::{Fetching, checkpoint, refresh, reload_on_hangup};
pub use error::StartError;

/// How long connections may take to close when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The addresses that a started server listens on, as written to `addresses.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Addresses {
    /// The server.
    pub server: String,
    /// For other security servers.
    pub exchange: String,
    /// For clients with TLS.
    pub client_tls: Option<String>,
    /// Plaintext listeners.
    pub client_plaintext: Vec<PlaintextAddress>,
    /// Metrics, health and readiness.
    pub monitoring: Option<String>,
    /// The admin API.
    pub admin_socket: PathBuf,
}

/// A plaintext listener and its subsystem.
#[derive(Debug, Clone, Serialize)]
pub struct PlaintextAddress {
    /// `ADDRESS:PORT` or `unix:PATH`.
    pub address: String,
    /// Whose calls come in here.
    pub subsystem: String,
}

/// Runs a security server until `stop` says so or the log fails.
///
/// # Errors
/// When it cannot start, or stops by itself.
pub async fn run(
    settings: Settings,
    machine: Machine,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    open_files::make_room(&settings).map_err(StartError::OpenFiles)?;
    let anchor = read_anchor(&settings)?;
    let log_key = LogKey::load(&settings.log_key.key)?;
    let log = log::open(&settings, &machine).map_err(StartError::Log)?;
    if !log::is_key_of(&log, &log_key) {
        return Err(StartError::OtherLogKey {
            path: settings.log_key.key,
        });
    }
    let identities = Identities::load(&settings)?;
    let log = (log, log_key);
    let (server, fetching) = assemble(&settings, &machine, &anchor, &identities, log).await?;
    // From here on there is always a checkpoint for an auditor to begin with.
    log::checkpoint(&server).await;
    let mut parts = JoinSet::new();
    let closing = CancellationToken::new();
    let mut listeners = listen(&settings, &server, &identities, &closing).await?;
    if let Some(monitoring) = &settings.monitoring {
        let (address, serving) = monitor(&server, &monitoring.listen).await?;
        listeners.addresses.monitoring = Some(address);
        parts.spawn(serving);
    }
    parts.spawn(administer(Arc::clone(&server), &settings, stop.clone())?);
    write_addresses(&settings, &listeners.addresses)?;
    parts.spawn(reload_on_hangup(Arc::clone(&server)));
    parts.spawn(refresh(fetching, settings.configuration.interval));
    let interval = settings.log_key.interval;
    parts.spawn(checkpoint(Arc::clone(&server), interval));
    parts.spawn(follow(Arc::clone(&server), settings.peer_logs.interval));
    if let Some(days) = settings.message_log.keep_content_days {
        let term = Duration::from_secs(u64::from(days.get()) * 86_400);
        parts.spawn(keep_term(Arc::clone(&server), term));
    }
    log::scrub(Arc::clone(&server));
    tracing::info!(server = %server.id(), "serving");
    let asked = stop.clone();
    let outcome = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Ok(()),
        error = server.recorder().log().failed() => Err(StartError::LogFailed(error)),
        ended = parts.join_next() => match *asked.borrow() {
            // The admin API hears the same word, and may be the first to end by it.
            true => Ok(()),
            false => Err(StartError::PartEnded(format!("{ended:?}"))),
        },
    };
    tracing::info!("stopping");
    server.exchanges().stop(settings.limits.stop_grace).await;
    closing.cancel();
    // What was answered last is still on its way out.
    let _ = timeout(DRAIN_TIMEOUT, listeners.tasks.join_all()).await;
    log::checkpoint(&server).await;
    log::keep(&server, true).await;
    outcome
}

fn read_anchor(settings: &Settings) -> Result<Anchor, StartError> {
    let path = &settings.anchor;
    let text = fs::read_to_string(path).map_err(|source| StartError::Unreadable {
        path: path.clone(),
        source,
    })?;
    let anchor = Anchor::from_json(&text).map_err(|refusal| StartError::Anchor {
        path: path.clone(),
        refusal,
    })?;
    let instance = anchor.root().instance();
    if settings.server.instance() != instance.as_str() {
        return Err(StartError::OtherInstance {
            server: settings.server.clone(),
            instance: instance.clone(),
        });
    }
    Ok(anchor)
}

async fn assemble(
    settings: &Settings,
    Machine { clock, files }: &Machine,
    anchor: &Anchor,
    identities: &Identities,
    (log, log_key): (Log, LogKey),
) -> Result<(Arc<Server>, Fetching), StartError> {
    let recollection_file = RecollectionFile::of(&settings.log);
    let recollection =
        log::recollect(&recollection_file, &log, &log_key).map_err(StartError::Log)?;
    let (newest, wishes) = Newest::new();
    let newest = Arc::new(newest);
    let kept = KeptConfiguration::open(Arc::clone(files), settings.directory.clone())?;
    let source = ConfigurationSource::open(
        anchor,
        settings.configuration.sources.clone(),
        kept,
        Arc::clone(&newest),
        Arc::clone(clock),
    )?;
    let registered: Arc<dyn certs::tls::RegisteredServers> = newest.clone();
    let peer_tls = PeerTls::new(Arc::clone(&identities.exchange), registered);
    let adapter_tls = match &settings.adapters {
        None => None,
        Some(of) => {
            let authorities = read_authorities(&of.authorities)?;
            Some(adapter_connector(
                &authorities,
                identities.adapters.clone(),
            )?)
        }
    };
    let subject_key = read_key(settings)?;
    let descriptors = Descriptors::new(Arc::clone(files), settings.directory.join("descriptors"));
    let closings = recollection.closings();
    let recorder = Recorder::new(
        log,
        Arc::clone(clock),
        (settings.server.clone(), settings.log_key.generation),
        recollection,
    );
    for closing in &closings {
        // Without them the log would not say how these exchanges ended.
        recorder
            .record_closing(closing)
            .await
            .map_err(StartError::NotClosed)?;
    }
    if !closings.is_empty() {
        tracing::warn!(
            exchanges = closings.len(),
            "closed: they were open when the server stopped"
        );
    }
    let exchanges = OpenExchanges::new(settings.limits.exchanges);
    let server = Server::new(Parts {
        id: settings.server.clone(),
        clock: Arc::clone(clock),
        peers: PeerConnections::new(peer_tls, Arc::clone(&newest), exchanges.crowd()),
        adapters: AdapterConnections::new(adapter_tls, exchanges.crowd()),
        newest,
        signers: Signers::load(&settings.signing_keys)?,
        recorder,
        budgets: Budgets::new(
            settings.limits.budget_bytes,
            settings.limits.message_bytes,
            settings.limits.message_timeout,
        ),
        identities: identities.clone(),
        log_key,
        recollection_file,
        data_subjects: DataSubjects::new(subject_key, Arc::new(descriptors)),
        exchanges,
        messages_per_signature: settings.limits.messages_per_signature,
    });
    Ok((Arc::new(server), Fetching { source, wishes }))
}

async fn bind(address: &str) -> Result<Listener, StartError> {
    let refused = |source| StartError::Listen {
        address: address.to_owned(),
        source,
    };
    Listener::bind(address).await.map_err(refused)
}

fn address_of(listener: &Listener) -> Result<String, StartError> {
    let unknown = |source| StartError::Listen {
        address: "a listener".to_owned(),
        source,
    };
    listener.address().map_err(unknown)
}

/// The listeners that serve, and where they are.
struct Serving {
    tasks: JoinSet<()>,
    addresses: Addresses,
}

/// Opens the listeners for other security servers and for client systems.
async fn listen(
    settings: &Settings,
    server: &Arc<Server>,
    identities: &Identities,
    closing: &CancellationToken,
) -> Result<Serving, StartError> {
    let limits = &settings.limits;
    let peer_tls = server.peers().tls().listener()?;
    let exchange = bind(&settings.exchange.listen).await?;
    let mut tasks = JoinSet::new();
    let mut addresses = Addresses {
        server: settings.server.to_string(),
        exchange: address_of(&exchange)?,
        client_tls: None,
        client_plaintext: Vec::new(),
        monitoring: None,
        admin_socket: settings.admin_socket.clone(),
    };
    let answer = ForPeers {
        server: Arc::clone(server),
    };
    tasks.spawn(serve(
        exchange,
        Some(peer_tls),
        limits.clone(),
        closing.clone(),
        answer,
    ));
    if let (Some(tls), Some(identity)) = (&settings.clients.tls, &identities.clients) {
        let config = client_listener(Arc::clone(identity))?;
        let listener = bind(&tls.listen).await?;
        addresses.client_tls = Some(address_of(&listener)?);
        let answer = ForClients {
            server: Arc::clone(server),
            subsystem: None,
            service: None,
        };
        tasks.spawn(serve(
            listener,
            Some(config),
            limits.clone(),
            closing.clone(),
            answer,
        ));
    }
    for plaintext in &settings.clients.plaintext {
        let listener = bind(&plaintext.listen).await?;
        let address = address_of(&listener)?;
        if !listener.is_local() {
            return Err(StartError::PlaintextOutside { address });
        }
        let subsystem = plaintext.subsystem.clone();
        addresses.client_plaintext.push(PlaintextAddress {
            address,
            subsystem: subsystem.to_string(),
        });
        let answer = ForClients {
            server: Arc::clone(server),
            subsystem: Some(subsystem),
            service: plaintext.service.clone(),
        };
        tasks.spawn(serve(
            listener,
            None,
            limits.clone(),
            closing.clone(),
            answer,
        ));
    }
    Ok(Serving { tasks, addresses })
}

/// Opens the pages for whoever watches this server.
async fn monitor(
    server: &Arc<Server>,
    address: &str,
) -> Result<(String, impl Future<Output = ()> + use<>), StartError> {
    let refused = |source| StartError::Listen {
        address: address.to_owned(),
        source,
    };
    let counted = counting::install()?;
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?.to_string();
    let server = Arc::clone(server);
    let serving = async move {
        if let Err(error) = monitoring::serve(server, counted, listener).await {
            tracing::error!(%error, "monitoring ended");
        }
    };
    Ok((bound, serving))
}

/// Opens the admin API; it ends when the server is asked to stop.
fn administer(
    server: Arc<Server>,
    settings: &Settings,
    mut stop: watch::Receiver<bool>,
) -> Result<impl Future<Output = ()> + use<>, StartError> {
    let socket = settings.admin_socket.clone();
    let refused = |source| StartError::Listen {
        address: format!("unix:{}", socket.display()),
        source,
    };
    let listener = bind_unix(&socket).map_err(refused)?;
    Ok(async move {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        if let Err(error) = admin::serve(server, listener, stopped).await {
            tracing::error!(%error, "the admin API ended");
        }
        let _ = fs::remove_file(socket);
    })
}

/// Says where the server listens: whoever reads it can call at once.
fn write_addresses(settings: &Settings, addresses: &Addresses) -> Result<(), StartError> {
    let path = settings.directory.join("addresses.json");
    let written = serde_json::to_vec_pretty(addresses)
        .map_err(io::Error::other)
        .and_then(|text| durable::replace(&Posix, &path, &text, 0o644));
    written.map_err(|source| StartError::Unwritable { path, source })
}
