//! One configuration as all stages of one message see it: taken once, never mixed.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use certs::{TrustedAuthority, tls::RegisteredServers};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use trust::{Digest, Reason, Refusal, ServerId, configuration::Configuration};

use crate::clock::SharedClock;

/// A verified configuration and what is parsed of it once.
pub(crate) struct Snapshot {
    configuration: Arc<Configuration>,
    signing: Arc<[TrustedAuthority]>,
    authentication: Arc<[TrustedAuthority]>,
    root_documents: Vec<Bytes>,
    sources: Vec<String>,
}

impl Snapshot {
    /// Parses the authorities. One that cannot be parsed is left out and said: what it issued is
    /// then not accepted.
    fn new(
        configuration: Arc<Configuration>,
        root_documents: Vec<Bytes>,
        sources: Vec<String>,
    ) -> Self {
        let parse = |wanted: fn(&trust::wire::configuration::Authority) -> bool| {
            let approved = configuration
                .authorities()
                .filter(|(_, found)| wanted(found));
            let parsed = approved.filter_map(|(digest, found)| {
                TrustedAuthority::parse(&found.certificate)
                    .inspect_err(|error| tracing::warn!(%digest, %error, "authority left out"))
                    .ok()
            });
            parsed.collect()
        };
        Self {
            signing: parse(|authority| authority.signing),
            authentication: parse(|authority| authority.authentication),
            configuration,
            root_documents,
            sources,
        }
    }

    /// The signed root documents from the anchor to the newest.
    pub(crate) fn root_documents(&self) -> &[Bytes] {
        &self.root_documents
    }

    /// Where what belongs to the configuration is published: base URLs.
    pub(crate) fn sources(&self) -> &[String] {
        &self.sources
    }

    /// The configuration.
    pub(crate) const fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    /// Authorities approved for signing certificates.
    pub(crate) fn signing_authorities(&self) -> &[TrustedAuthority] {
        &self.signing
    }
}

/// The newest configuration, replaced while the server runs.
pub(crate) struct Newest {
    snapshot: ArcSwapOption<Snapshot>,
    /// Asks whoever fetches the configuration to look for a newer one now.
    wanted: mpsc::Sender<Fetched>,
    /// Milliseconds since 1970 (UTC) of the last such question; held while it is looked.
    asked_at: tokio::sync::Mutex<i64>,
}

/// Told when a look for a newer configuration is over.
pub(crate) type Fetched = oneshot::Sender<()>;

/// How often a peer's word can make us look for a newer configuration, in milliseconds.
const FETCH_INTERVAL: i64 = 1000;

/// How long a decision waits for a newer configuration.
const FETCH_PATIENCE: Duration = Duration::from_secs(2);

impl Newest {
    /// No configuration yet; the second value is for whoever fetches it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Fetched>) {
        let (wanted, wishes) = mpsc::channel(1);
        let newest = Self {
            snapshot: ArcSwapOption::empty(),
            wanted,
            asked_at: tokio::sync::Mutex::new(0),
        };
        (newest, wishes)
    }

    /// Looks for a newer configuration now, at most once a second, and waits until that is over;
    /// whoever comes meanwhile waits with it.
    pub(crate) async fn fetch(&self, clock: &SharedClock) {
        let Ok(mut asked_at) = timeout(FETCH_PATIENCE, self.asked_at.lock()).await else {
            return;
        };
        let now = clock.milliseconds();
        // Also after the clock was set back.
        if (0..FETCH_INTERVAL).contains(&(now - *asked_at)) {
            return;
        }
        *asked_at = now;
        let (fetched, over) = oneshot::channel();
        if self.wanted.try_send(fetched).is_ok() {
            // Looked for in vain or not: the decision is made by what is there then.
            let _ = timeout(FETCH_PATIENCE, over).await;
        }
    }

    /// Puts a newer configuration in force.
    pub(crate) fn replace(
        &self,
        configuration: Arc<Configuration>,
        root_documents: Vec<Bytes>,
        sources: Vec<String>,
    ) {
        let snapshot = Snapshot::new(configuration, root_documents, sources);
        self.snapshot.store(Some(Arc::new(snapshot)));
    }

    /// The configuration in force, valid or not, if there is one at all.
    pub(crate) fn peek(&self) -> Option<Arc<Snapshot>> {
        self.snapshot.load_full()
    }

    /// The configuration for one decision.
    ///
    /// # Errors
    /// `NoConfiguration` when there is none, or it has expired.
    pub(crate) fn in_force(&self, clock: &SharedClock) -> Result<Arc<Snapshot>, Refusal> {
        let snapshot = self.peek().ok_or_else(|| {
            Refusal::new(
                Reason::NoConfiguration,
                "this server has no global configuration yet",
            )
        })?;
        snapshot
            .configuration
            .head()
            .check_validity(clock.seconds())?;
        Ok(snapshot)
    }
}

impl RegisteredServers for Newest {
    fn server_of(&self, certificate: &Digest) -> Option<ServerId> {
        self.peek()?.configuration.server_of(certificate).cloned()
    }

    fn authorities(&self) -> Arc<[TrustedAuthority]> {
        self.peek().map_or_else(
            || Arc::from([]),
            |snapshot| Arc::clone(&snapshot.authentication),
        )
    }
}
