//! The running registry: publishes on time, answers officers, serves the published files.

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use durable::Posix;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};

use crate::{Error, Settings, administration, clock::Clock, http_files, registry::Registry};

/// How long connections may finish when the registry ends.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// What the command line says beside the settings.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to serve the published files instead of where the settings say.
    pub listen: Option<SocketAddr>,
    /// A file to write the address into once the registry is ready.
    pub address_file: Option<PathBuf>,
}

/// Runs the registry of `directory` until `end`. It is ready, with its first head published, when
/// the address file is there.
///
/// # Errors
/// When it cannot start, or its log fails.
pub async fn serve(
    directory: &Path,
    options: Options,
    clock: Clock,
    end: impl Future<Output = ()>,
) -> Result<(), Error> {
    let settings = Settings::load(directory)?;
    let registry = Arc::new(Registry::open(&settings, clock).await?);
    let wanted = options.listen.unwrap_or(settings.listen);
    let listening = |source| Error::Unusable(format!("listening on {wanted} failed: {source}"));
    let listener = TcpListener::bind(wanted).await.map_err(listening)?;
    let address = listener.local_addr().map_err(listening)?;
    let socket = administration::bind(&settings.admin_socket)?;
    publish_if_due(&registry).await?;

    let (ending, ended) = watch::channel(false);
    let ended = || {
        let mut ended = ended.clone();
        // An error means that the sender is gone: that is an end as well.
        async move { drop(ended.wait_for(|ended| *ended).await) }
    };
    let mut tasks = JoinSet::new();
    let (public, connections) = (settings.public.clone(), settings.connections);
    let end_of_files = ended();
    tasks.spawn(async move {
        http_files::serve(listener, &public, connections, end_of_files).await;
        Ok(())
    });
    let (officers, end_of_officers) = (Arc::clone(&registry), ended());
    tasks.spawn(async move {
        let served = administration::serve(socket, officers, end_of_officers).await;
        served.map_err(|error| Error::Unusable(format!("answering officers failed: {error}")))
    });
    tasks.spawn(keep_publishing(Arc::clone(&registry), ended()));

    if let Some(file) = &options.address_file {
        let line = format!("{address}\n");
        durable::replace(&Posix, file, line.as_bytes(), 0o644)
            .map_err(Error::file("writing", file))?;
    }
    tracing::info!(
        "the registry of {} is ready: published files on http://{address}, officers on {}",
        settings.instance,
        settings.admin_socket.display()
    );
    let mut end = pin!(end);
    let outcome = tokio::select! {
        () = &mut end => Ok(()),
        Some(finished) = tasks.join_next() => finished.unwrap_or_else(|error| {
            Err(Error::Unusable(format!("a task of the registry broke off: {error}")))
        }),
    };
    ending.send_replace(true);
    // What was begun is finished; whoever holds a connection open for nothing is cut off.
    let finishing = async { while tasks.join_next().await.is_some() {} };
    if timeout(FINISH_TIME, finishing).await.is_err() {
        tasks.shutdown().await;
    }
    // Nobody answers there any more.
    let _ = std::fs::remove_file(&settings.admin_socket);
    tracing::info!("the registry of {} has ended", settings.instance);
    outcome
}

/// Publishes before anyone is served: a registry that cannot publish does not start.
async fn publish_if_due(registry: &Registry) -> Result<(), Error> {
    if registry.due().await <= registry.clock().milliseconds() {
        let serial = registry.publish().await?;
        tracing::info!("published serial {serial}");
    }
    Ok(())
}

/// Publishes whenever it is due, until `end` or until the log fails.
async fn keep_publishing(
    registry: Arc<Registry>,
    end: impl Future<Output = ()>,
) -> Result<(), Error> {
    let mut end = pin!(end);
    let mut not_before = i64::MIN;
    loop {
        if registry.has_failed() {
            return Err(Error::Unusable(
                "the log of the registry has failed".to_owned(),
            ));
        }
        let now = registry.clock().milliseconds();
        let due = registry.due().await.max(not_before);
        if due <= now {
            match registry.publish().await {
                Ok(serial) => {
                    tracing::info!("published serial {serial}");
                    not_before = i64::MIN;
                }
                Err(error) => {
                    tracing::error!("publishing failed: {}", with_causes(&error));
                    not_before = registry.schedule().retry(now);
                }
            }
            continue;
        }
        // Looked at again at least every interval: the clock of the machine may be set.
        let wait = registry.schedule().pause(now, due);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = registry.changed() => {}
            () = &mut end => return Ok(()),
        }
    }
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
