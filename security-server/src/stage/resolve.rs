//! Which security server provides the service, and who signs for the caller?

use std::sync::Arc;

use trust::{
    ExchangeId, MethodPath, Reason, Refusal, ServerId, SubsystemId, access::REFLECTION_SERVICES,
    header::Parties,
};

use super::identify_client::Client;
use crate::{client_call::ClientCall, exchange::Consumption, server::Server, snapshot::Snapshot};

impl Server {
    /// Resolves the called service to its security server and opens the exchange.
    ///
    /// # Errors
    /// `InvalidPath`, `InvalidMetadata`, `UnknownService`, `NotRegisteredAtServer`, `NoSigningKey`,
    /// `NoConfiguration`.
    pub(crate) async fn resolve(
        &self,
        client: &Client,
        exchange: ExchangeId,
        call: &ClientCall,
    ) -> Result<Consumption, Refusal> {
        let snapshot = self.configuration_in_force()?;
        call.check_metadata()?;
        let method = call.method()?;
        let service = call.named_service(&method)?;
        self.check_registered(&snapshot, client.subsystem())?;
        let (provider, address) = provider_of(&snapshot, &service, &method)?;
        let signer = self.signer_of(client.subsystem())?;
        let parties = Parties {
            instance: snapshot.configuration().state().instance().clone(),
            exchange,
            client: client.subsystem().clone(),
            service,
            method,
            consumer: self.id().clone(),
            provider,
        };
        let statements = call.statements(exchange)?;
        let marking = self.data_subjects().marking(&snapshot, &parties).await;
        Ok(Consumption::new(
            parties,
            statements,
            call.deadline()?,
            call.identity.clone(),
            signer,
            address,
            marking,
        ))
    }

    /// A client that the provider would refuse is told so at home.
    ///
    /// # Errors
    /// `UnknownClient`.
    pub(crate) fn check_registered(
        &self,
        snapshot: &Arc<Snapshot>,
        client: &SubsystemId,
    ) -> Result<(), Refusal> {
        if snapshot
            .configuration()
            .hosts_of(client)
            .contains(self.id())
        {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::UnknownClient,
            format!(
                "{client} is not registered at {} in the global configuration",
                self.id()
            ),
        ))
    }
}

/// The security server that provides a service, and where it listens for others.
///
/// # Errors
/// `UnknownService`.
pub(crate) fn provider_of(
    snapshot: &Arc<Snapshot>,
    service: &SubsystemId,
    method: &MethodPath,
) -> Result<(ServerId, String), Refusal> {
    let configuration = snapshot.configuration();
    let unknown = |what: String| Refusal::new(Reason::UnknownService, what);
    let instance = configuration.state().instance();
    if service.instance() != instance.as_str() {
        return Err(unknown(format!(
            "{service} is of another instance than {instance}"
        )));
    }
    let registered = configuration.has_service(service, method.service())
        || REFLECTION_SERVICES.contains(&method.service());
    if !registered {
        return Err(unknown(format!(
            "no service {} of {service} is registered in the global configuration",
            method.service()
        )));
    }
    let hosts = configuration.hosts_of(service);
    let host = hosts.first().ok_or_else(|| {
        unknown(format!(
            "{service} is not registered at any security server"
        ))
    })?;
    let address = configuration
        .address_of(host)
        .ok_or_else(|| unknown(format!("{host} has no address in the global configuration")))?;
    Ok((host.clone(), address.to_owned()))
}
