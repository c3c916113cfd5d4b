//! What a federation consists of.

use std::path::PathBuf;

/// Who takes part.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The instance.
    pub instance: String,
    /// The security servers, one agency each.
    pub servers: Vec<ServerPlan>,
}

/// A security server and its agency.
#[derive(Debug, Clone)]
pub struct ServerPlan {
    /// The server's own code, and the name of its folder.
    pub code: String,
    /// The member that owns it: `INSTANCE/CLASS/MEMBER`.
    pub member: String,
    /// The agency's name.
    pub name: String,
    /// Names of the member's subsystems hosted here.
    pub subsystems: Vec<String>,
    /// Services offered here.
    pub services: Vec<ServicePlan>,
    /// Client systems.
    pub clients: Vec<ClientPlan>,
    /// Rights granted here.
    pub rights: Vec<RightPlan>,
}

/// A service and its adapter.
#[derive(Debug, Clone)]
pub struct ServicePlan {
    /// The subsystem's own name.
    pub subsystem: String,
    /// `package.Service`
    pub grpc_service: String,
    /// `http://127.0.0.1:PORT` or `unix:/PATH`
    pub adapter: String,
    /// File of its descriptor set, with which it is registered; none: it is registered without.
    pub descriptor: Option<PathBuf>,
}

/// A client system: it gets a certificate, and its subsystem a plaintext listener.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    /// The name of its folder.
    pub name: String,
    /// The subsystem's own name.
    pub subsystem: String,
}

/// A right granted to a client.
#[derive(Debug, Clone)]
pub struct RightPlan {
    /// Its id.
    pub id: String,
    /// The consumer's subsystem, whole.
    pub client: String,
    /// The provider's subsystem's own name.
    pub subsystem: String,
    /// `package.Service`
    pub grpc_service: String,
    /// Methods; none means all.
    pub methods: Vec<String>,
    /// Purposes; none means that none is asked for.
    pub purposes: Vec<String>,
}

impl ServerPlan {
    /// The server's identifier.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.member, self.code)
    }

    /// The whole identifier of a subsystem of this server's member.
    #[must_use]
    pub fn subsystem(&self, name: &str) -> String {
        format!("{}/{name}", self.member)
    }
}
