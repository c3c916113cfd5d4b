//! What a running server does beside its exchanges: fetch the configuration, sign checkpoints.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::timeout,
};

use crate::{log, server::Server, snapshot::Fetched, source::ConfigurationSource};

/// What fetches the configuration, and those who want it to look now.
pub(super) struct Fetching {
    pub(super) source: ConfigurationSource,
    pub(super) wishes: mpsc::Receiver<Fetched>,
}

/// Looks for a newer configuration again and again, and when somebody wants one; says it once when
/// that begins to fail.
pub(super) async fn refresh(mut fetching: Fetching, interval: Duration) {
    let mut told = None;
    let mut wish = None;
    loop {
        let failure = fetching.source.refresh().await.err();
        if let Some(why) = failure.as_ref().filter(|_| failure != told) {
            tracing::warn!(%why, "no newer configuration; the last good one stays, if there is one");
        }
        told = failure;
        if let Some(fetched) = wish.take() {
            // Whoever wanted it may have stopped waiting.
            let _: Result<(), ()> = Fetched::send(fetched, ());
        }
        wish = timeout(interval, fetching.wishes.recv())
            .await
            .ok()
            .flatten();
    }
}

/// Signs a checkpoint again and again, while there is something new, and keeps what is remembered.
pub(super) async fn checkpoint(server: Arc<Server>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        log::checkpoint(&server).await;
        log::keep(&server, false).await;
    }
}

/// Reads the certificates again whenever the process gets SIGHUP; new connections show them.
pub(super) async fn reload_on_hangup(server: Arc<Server>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        server.identities().reload();
        server.peers().renew();
        tracing::info!("certificates read again");
    }
}
