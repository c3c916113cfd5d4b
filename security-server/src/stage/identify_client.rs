//! Which subsystem is calling? The certificate or the listener decides; metadata may repeat it.

use trust::{Reason, Refusal, SubsystemId};

use crate::{
    client_call::{ClientCall, ConnectionIdentity},
    server::Server,
};

/// The proof that the caller speaks for a subsystem hosted here.
pub(crate) struct Client {
    subsystem: SubsystemId,
}

impl Client {
    pub(crate) const fn subsystem(&self) -> &SubsystemId {
        &self.subsystem
    }
}

impl Server {
    /// Identifies the calling subsystem.
    ///
    /// # Errors
    /// `NotIdentified`, `ForeignSubsystem`, `UnknownClient`, `SubsystemDisabled`, `InvalidMetadata`.
    pub(crate) fn identify_client(&self, call: &ClientCall) -> Result<Client, Refusal> {
        let subsystem = self.identified(&call.identity)?;
        if let Some(named) = call.named_client()?
            && named != subsystem
        {
            return Err(Refusal::new(
                Reason::ForeignSubsystem,
                format!("x-road-client names {named}; the caller is {subsystem}"),
            ));
        }
        self.check_enabled(&subsystem)?;
        Ok(Client { subsystem })
    }

    /// Whether a connection still speaks for the subsystem that it spoke for before.
    ///
    /// # Errors
    /// `NotIdentified`.
    pub(crate) fn check_identity(
        &self,
        identity: &ConnectionIdentity,
        subsystem: &SubsystemId,
    ) -> Result<(), Refusal> {
        if self.identified(identity)? == *subsystem {
            return Ok(());
        }
        let what = format!("the client certificate is no longer one of {subsystem}");
        Err(Refusal::new(Reason::NotIdentified, what))
    }

    /// Whether calls of a subsystem are taken here.
    ///
    /// # Errors
    /// `SubsystemDisabled` or `UnknownClient`.
    pub(crate) fn check_enabled(&self, subsystem: &SubsystemId) -> Result<(), Refusal> {
        match self.local_state().subsystems.get(subsystem) {
            Some(true) => Ok(()),
            Some(false) => Err(Refusal::new(
                Reason::SubsystemDisabled,
                format!("{subsystem} is disabled at this server"),
            )),
            None => Err(Refusal::new(
                Reason::UnknownClient,
                format!("{subsystem} is not a subsystem of this server"),
            )),
        }
    }

    /// Whose call it is as far as the connection says, for notes. All that nobody registered are one
    /// source: anybody can make certificates, and each source may write into our log.
    pub(crate) fn source_of(&self, call: &ClientCall) -> String {
        self.identified(&call.identity).map_or_else(
            |_| "a client without a registered certificate".to_owned(),
            |subsystem| subsystem.to_string(),
        )
    }

    fn identified(&self, identity: &ConnectionIdentity) -> Result<SubsystemId, Refusal> {
        let certificate = match identity {
            ConnectionIdentity::Listener(subsystem) => return Ok(subsystem.clone()),
            ConnectionIdentity::Tls(Some(certificate)) => certificate,
            ConnectionIdentity::Tls(None) => {
                return Err(Refusal::new(
                    Reason::NotIdentified,
                    "no client certificate was shown",
                ));
            }
        };
        certificate
            .valid_at(self.clock().seconds())
            .map_err(|error| Refusal::new(Reason::NotIdentified, error.to_string()))?;
        let digest = certificate.digest();
        self.local_state()
            .certificates
            .get(&digest)
            .cloned()
            .ok_or_else(|| {
                Refusal::new(
                    Reason::NotIdentified,
                    format!("the client certificate {digest} is not registered at this server"),
                )
            })
    }
}
