//! The TLS certificates of this server, read again while it runs.

use std::sync::Arc;

use certs::{FileError, Role, tls::ReplaceableIdentity};

use crate::settings::Settings;

/// The TLS certificates of the server, replaced while it runs.
#[derive(Clone)]
pub(crate) struct Identities {
    /// Shown to other security servers.
    pub(crate) exchange: Arc<ReplaceableIdentity>,
    /// Shown to client systems.
    pub(crate) clients: Option<Arc<ReplaceableIdentity>>,
    /// Shown to adapters on other machines.
    pub(crate) adapters: Option<Arc<ReplaceableIdentity>>,
}

impl Identities {
    /// Loads certificates and keys.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub(crate) fn load(settings: &Settings) -> Result<Self, FileError> {
        let exchange = &settings.exchange;
        let clients = settings
            .clients
            .tls
            .as_ref()
            .map(|tls| ReplaceableIdentity::load(Role::Listener, &tls.certificate, &tls.key));
        let adapters = settings.adapters.as_ref();
        let adapters =
            adapters.map(|of| ReplaceableIdentity::load(Role::Client, &of.certificate, &of.key));
        Ok(Self {
            exchange: ReplaceableIdentity::load(
                Role::Authentication,
                &exchange.certificate,
                &exchange.key,
            )?,
            clients: clients.transpose()?,
            adapters: adapters.transpose()?,
        })
    }

    /// Reads the certificates again; a bad file changes nothing.
    pub(crate) fn reload(&self) {
        let all = [
            Some(&self.exchange),
            self.clients.as_ref(),
            self.adapters.as_ref(),
        ];
        for identity in all.into_iter().flatten() {
            match identity.reload() {
                Ok(certificate) => {
                    tracing::info!(certificate = %certificate.digest(), "certificate read");
                }
                Err(error) => tracing::error!(%error, "the old certificate stays"),
            }
        }
    }
}
