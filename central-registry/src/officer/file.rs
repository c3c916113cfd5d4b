//! The file that `apply` reads and `show` prints.

use serde::{Deserialize, Serialize};

/// What an officer wants the registry to say. Everything may be left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryFile {
    /// The instance; if given, it must be the registry's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberTable>,
    /// The subsystems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsystems: Vec<SubsystemTable>,
    /// The security servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerTable>,
    /// The services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceTable>,
    /// The approved authorities.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<AuthorityTable>,
    /// The officers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub officers: Vec<OfficerTable>,
}

/// `[[members]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberTable {
    /// INSTANCE/CLASS/MEMBER
    pub id: String,
    /// The agency's name.
    pub name: String,
}

/// `[[subsystems]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsystemTable {
    /// INSTANCE/CLASS/MEMBER/SUBSYSTEM
    pub id: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// `[[servers]]`. A list that is given is the whole list; one that is left out stays as it is. The
/// two lists of subsystems are one list of registrations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// INSTANCE/CLASS/MEMBER/SERVER
    pub id: String,
    /// host:port of the listener for other security servers.
    pub address: String,
    /// Files (PEM or DER) of its TLS certificates, or SHA-256 of their DER.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_certificates: Option<Vec<String>>,
    /// The subsystems that are hosted here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subsystems: Option<Vec<String>>,
    /// Those that are hosted here and may not speak now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled_subsystems: Option<Vec<String>>,
    /// The keys that sign the checkpoints of its message log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_keys: Option<Vec<LogKeyTable>>,
}

/// One of `log_keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogKeyTable {
    /// Which log of the server: a lost log gets the next.
    pub generation: u32,
    /// 64 hexadecimal digits, or a PEM file.
    pub key: String,
}

/// `[[services]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTable {
    /// The subsystem that offers it.
    pub subsystem: String,
    /// package.Service
    pub grpc_service: String,
    /// File of an encoded FileDescriptorSet, or SHA-256 of a recorded one; left out: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<String>,
}

/// `[[authorities]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityTable {
    /// Its name, for people.
    pub name: String,
    /// What its certificates are accepted for.
    #[serde(rename = "use")]
    pub uses: Vec<Use>,
    /// File of its certificate (PEM or DER), or the PEM text itself.
    pub certificate: String,
}

/// What an authority is approved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Signing certificates of members.
    Signing,
    /// Authentication certificates of security servers.
    Authentication,
}

/// `[[officers]]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfficerTable {
    /// The officer's name: letters, digits, dot and hyphen.
    pub name: String,
    /// 64 hexadecimal digits, or a PEM file.
    pub key: String,
}
