//! What `adapter register` prints: the service for the state file of its security server.

use std::{collections::BTreeSet, net::SocketAddr};

use trust::SubsystemId;

use crate::{
    configuration::{Configuration, Listen},
    listening::Address,
};

/// The adapter has no address that could be registered.
#[derive(Debug, thiserror::Error)]
#[error(
    "the adapter takes a free port ({0}) each time it starts, so that nobody could find it; give [listen] a \
     port or a Unix socket"
)]
pub struct NoAddress(SocketAddr);

/// The entries that host the service and let these subsystems call it, as TOML.
///
/// # Errors
/// When the adapter listens on a port that is not fixed.
pub fn fragment(
    configuration: &Configuration,
    subsystem: &SubsystemId,
    clients: &[SubsystemId],
) -> Result<String, NoAddress> {
    let service = &configuration.service;
    let address = match &configuration.listen {
        Listen::Tcp(address) if address.port() == 0 => return Err(NoAddress(*address)),
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Tls { address, .. } if address.port() == 0 => return Err(NoAddress(*address)),
        Listen::Tls { address, name, .. } => Address::Tls(name.clone(), address.port()).to_string(),
        Listen::Unix { path, .. } => format!("unix:{}", path.display()),
    };
    let mut text = format!(
        "\n# {service}, from {}: for the state file of its security server; then `security-server apply`.\n\
         # Leave out the subsystem if it is there already.\n\
         [[subsystems]]\nid = {}\n\n\
         [[services]]\nsubsystem = {}\ngrpc_service = {}\nadapter = {}\n",
        configuration.file_name(),
        quoted(subsystem.as_str()),
        quoted(subsystem.as_str()),
        quoted(&service.to_string()),
        quoted(&address),
    );
    // Entries are told apart by their names, and one said twice is one.
    for client in clients.iter().collect::<BTreeSet<_>>() {
        text += &format!(
            "\n[[access_rights]]\nid = {}\nclient = {}\nservice = {}\ngrpc_service = {}\n",
            quoted(&format!("{service} of {subsystem} for {client}")),
            quoted(client.as_str()),
            quoted(subsystem.as_str()),
            quoted(&service.to_string()),
        );
    }
    Ok(text)
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
