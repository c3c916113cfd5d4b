//! `endpoints.json`: where everything of a federation is, for clients and tests in any language.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The whole file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Endpoints {
    /// The security servers.
    pub servers: Vec<ServerEndpoint>,
    /// The services.
    pub services: Vec<ServiceEndpoint>,
}

/// A security server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServerEndpoint {
    /// Its identifier.
    pub id: String,
    /// The member that owns it.
    pub member: String,
    /// For clients with a certificate.
    pub client_tls: Option<String>,
    /// For clients on this machine, each with its subsystem.
    pub client_plaintext: Vec<PlaintextEndpoint>,
    /// For other security servers.
    pub exchange: String,
    /// The operator's door.
    pub admin_socket: PathBuf,
    /// The message log.
    pub log: PathBuf,
}

/// A plaintext listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlaintextEndpoint {
    /// `ADDRESS:PORT`
    pub address: String,
    /// Whose calls come in here.
    pub subsystem: String,
}

/// A service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceEndpoint {
    /// The provider's subsystem.
    pub subsystem: String,
    /// `package.Service`
    pub grpc_service: String,
    /// Its .proto file.
    pub proto: PathBuf,
}
