//! A new configuration without a restart: opened and proven beside the one that is served, then put in its place.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    adapter::Adapter,
    configuration::{Configuration, Listen},
    database::Database,
    error::Error,
    granting::GrantedMethod,
    tls_listener::{self, Known},
};

/// What calls are answered by now; those that have begun keep what they began with.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) database: Database,
    pub(crate) methods: BTreeMap<String, Arc<GrantedMethod>>,
}

/// Gives an adapter that serves another configuration.
#[derive(Debug, Clone)]
pub struct Reloader {
    pub(crate) current: Arc<ArcSwap<Current>>,
    /// Whom its listener knows, if it is for other machines.
    pub(crate) known: Option<Known>,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) unchanged: Unchanged,
}

/// What cannot change while callers are connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unchanged {
    /// The published form, which reflection tells.
    pub(crate) proto: String,
    pub(crate) listen: Listen,
    pub(crate) monitoring: Option<SocketAddr>,
}

impl Reloader {
    /// Opens a configuration and, if all of it fits, answers by it from now on. Otherwise nothing changes.
    ///
    /// # Errors
    /// What keeps an adapter from starting with it; or that it changes the published form or an address.
    pub async fn reload(&self, configuration: Configuration) -> Result<(), Error> {
        let next = Adapter::open_with(configuration, self.stopping.clone()).await?;
        let wanted = next.unchanged();
        let changed = [
            (wanted.proto != self.unchanged.proto, "the published .proto"),
            (
                wanted.listen != self.unchanged.listen,
                "where the adapter listens",
            ),
            (
                wanted.monitoring != self.unchanged.monitoring,
                "where it is monitored",
            ),
        ];
        if let Some((_, what)) = changed.into_iter().find(|(is_changed, _)| *is_changed) {
            return Err(Error::NotReloaded(what));
        }
        if let (Some(known), Listen::Tls { name, files, .. }) = (&self.known, &wanted.listen) {
            known.store(tls_listener::read(name, files)?);
        }
        self.current.store(next.current());
        Ok(())
    }
}
