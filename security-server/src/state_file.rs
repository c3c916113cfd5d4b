//! `state.toml`: the local state as an operator writes it, and the changes that bring it about.

mod difference;

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use certs::file::read_certificates;
use serde::{Deserialize, Serialize};
use trust::{
    Digest,
    wire::evidence::{
        AccessRight, Change, ClientCertificate, ClientCertificateKey, LocalService, LocalSubsystem,
        ServiceKey,
        change::{Key, Value},
    },
};

pub use difference::{Difference, Summary};

/// The file. What it does not mention is removed.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateFile {
    /// Subsystems hosted here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subsystems: Vec<SubsystemEntry>,
    /// Services and their adapters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceEntry>,
    /// Certificates of client systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_certificates: Vec<CertificateEntry>,
    /// Who may call what.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_rights: Vec<RightEntry>,
}

/// A subsystem hosted here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubsystemEntry {
    /// `INSTANCE/CLASS/MEMBER/SUBSYSTEM`
    pub id: String,
    /// A disabled one neither calls nor answers.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A service and its adapter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceEntry {
    /// The provider's subsystem.
    pub subsystem: String,
    /// `package.Service`
    pub grpc_service: String,
    /// `unix:/PATH` or `http://127.0.0.1:PORT`
    pub adapter: String,
    /// Plain text to loopback, allowed in words.
    #[serde(default)]
    pub plaintext_loopback: bool,
    /// Milliseconds a call may take; absent: as long as the caller allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_milliseconds: Option<u64>,
}

/// The certificate of a client system.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateEntry {
    /// Whom it speaks for.
    pub subsystem: String,
    /// A PEM file, relative to this file; or the PEM text itself.
    pub certificate: String,
}

/// An access right.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightEntry {
    /// A name for it, unique at this server; the agreement's number, say.
    pub id: String,
    /// The consumer's subsystem.
    pub client: String,
    /// The provider's subsystem.
    pub service: String,
    /// `package.Service`
    pub grpc_service: String,
    /// Methods; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Purposes, one of which must be stated; none means that none is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// RFC 3339 time, inclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<String>,
    /// RFC 3339 time, exclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}

const fn yes() -> bool {
    true
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// The file cannot be read.
    #[error("cannot read {0}")]
    Unreadable(std::path::PathBuf, #[source] std::io::Error),
    /// The file is not what it must be.
    #[error("{0} is not a valid state file")]
    Invalid(std::path::PathBuf, #[source] Box<toml::de::Error>),
    /// One entry is not what it must be.
    #[error("{entry}: {problem}")]
    Entry {
        /// Which.
        entry: String,
        /// What is wrong.
        problem: String,
    },
}

impl StateFile {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or says something that is not understood.
    pub fn load(path: &Path) -> Result<Self, StateFileError> {
        let text = fs::read_to_string(path)
            .map_err(|error| StateFileError::Unreadable(path.to_owned(), error))?;
        toml::from_str(&text)
            .map_err(|error| StateFileError::Invalid(path.to_owned(), Box::new(error)))
    }

    /// The file for a state as the server shows it.
    #[must_use]
    pub fn of(state: &[Change]) -> Self {
        let mut file = Self::default();
        for change in state {
            match (&change.key, &change.value) {
                (Some(Key::Subsystem(id)), Some(Value::LocalSubsystem(local))) => {
                    file.subsystems.push(SubsystemEntry {
                        id: id.clone(),
                        enabled: local.enabled,
                    })
                }
                (Some(Key::Service(key)), Some(Value::LocalService(local))) => {
                    file.services.push(ServiceEntry {
                        subsystem: key.subsystem.clone(),
                        grpc_service: key.grpc_service.clone(),
                        adapter: local.adapter.clone(),
                        plaintext_loopback: local.plaintext_loopback,
                        timeout_milliseconds: Some(local.timeout_milliseconds)
                            .filter(|timeout| *timeout > 0),
                    });
                }
                (Some(Key::ClientCertificate(_)), Some(Value::Certificate(certificate))) => {
                    file.client_certificates.push(CertificateEntry {
                        subsystem: certificate.subsystem.clone(),
                        certificate: pem(&certificate.certificate),
                    });
                }
                (Some(Key::AccessRight(id)), Some(Value::Right(right))) => {
                    file.access_rights.push(right_entry(id, right));
                }
                _ => {}
            }
        }
        file
    }

    /// The state as changes, by their keys. Certificate files are relative to `base`.
    ///
    /// # Errors
    /// The entry that is not what it must be.
    pub fn changes(&self, base: &Path) -> Result<BTreeMap<ChangeKey, Change>, StateFileError> {
        let mut changes = BTreeMap::new();
        let mut add = |key: Key, value: Value| {
            let change = Change {
                unix_user: 0,
                key: Some(key),
                value: Some(value),
            };
            let key = ChangeKey::of(&change);
            if let Some(twice) = changes.insert(key.clone(), change) {
                let _ = twice;
                return Err(StateFileError::Entry {
                    entry: key.to_string(),
                    problem: "is there twice".to_owned(),
                });
            }
            Ok(())
        };
        for entry in &self.subsystems {
            let value = LocalSubsystem {
                enabled: entry.enabled,
            };
            add(
                Key::Subsystem(entry.id.clone()),
                Value::LocalSubsystem(value),
            )?;
        }
        for entry in &self.services {
            let key = ServiceKey {
                subsystem: entry.subsystem.clone(),
                grpc_service: entry.grpc_service.clone(),
            };
            let value = LocalService {
                adapter: entry.adapter.clone(),
                plaintext_loopback: entry.plaintext_loopback,
                timeout_milliseconds: entry.timeout_milliseconds.unwrap_or_default(),
            };
            add(Key::Service(key), Value::LocalService(value))?;
        }
        for entry in &self.client_certificates {
            let certificate = read_certificate(entry, base)?;
            let digest = Digest::of(&certificate).to_bytes();
            let value = ClientCertificate {
                subsystem: entry.subsystem.clone(),
                certificate,
            };
            add(
                Key::ClientCertificate(ClientCertificateKey { digest }),
                Value::Certificate(value),
            )?;
        }
        for entry in &self.access_rights {
            add(
                Key::AccessRight(entry.id.clone()),
                Value::Right(right(entry)?),
            )?;
        }
        Ok(changes)
    }
}

/// Which key a change is about, in the order in which changes can be applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeKey(u8, String);

impl ChangeKey {
    /// The key of a change.
    #[must_use]
    pub fn of(change: &Change) -> Self {
        match &change.key {
            Some(Key::Subsystem(id)) => Self(0, format!("subsystem {id}")),
            Some(Key::Service(key)) => Self(
                1,
                format!("service {} of {}", key.grpc_service, key.subsystem),
            ),
            Some(Key::ClientCertificate(key)) => Self(
                2,
                format!("client certificate {}", hex::encode(&key.digest)),
            ),
            Some(Key::AccessRight(id)) => Self(3, format!("access right {id}")),
            None => Self(u8::MAX, "nothing".to_owned()),
        }
    }
}

impl std::fmt::Display for ChangeKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.1)
    }
}

fn right(entry: &RightEntry) -> Result<AccessRight, StateFileError> {
    let time = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map(|time| Some(time.as_second()))
            .map_err(|error| StateFileError::Entry {
                entry: format!("access right {}", entry.id),
                problem: format!("\"{text}\" is no RFC 3339 time: {error}"),
            }),
    };
    Ok(AccessRight {
        client: entry.client.clone(),
        service: entry.service.clone(),
        grpc_service: entry.grpc_service.clone(),
        methods: entry.methods.clone(),
        purposes: entry.purposes.clone(),
        valid_from: time(&entry.valid_from)?,
        valid_until: time(&entry.valid_until)?,
    })
}

fn right_entry(id: &str, right: &AccessRight) -> RightEntry {
    let time = |seconds: Option<i64>| {
        seconds
            .and_then(|at| jiff::Timestamp::from_second(at).ok())
            .map(|at| at.to_string())
    };
    RightEntry {
        id: id.to_owned(),
        client: right.client.clone(),
        service: right.service.clone(),
        grpc_service: right.grpc_service.clone(),
        methods: right.methods.clone(),
        purposes: right.purposes.clone(),
        valid_from: time(right.valid_from),
        valid_until: time(right.valid_until),
    }
}

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const PEM_END: &str = "-----END CERTIFICATE-----";

fn pem(der: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
}

fn read_certificate(entry: &CertificateEntry, base: &Path) -> Result<Bytes, StateFileError> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let refused = |problem: String| StateFileError::Entry {
        entry: format!("client certificate of {}", entry.subsystem),
        problem,
    };
    if let Some(text) = entry.certificate.trim().strip_prefix(PEM_BEGIN) {
        let body: String = text.trim_end_matches(PEM_END).split_whitespace().collect();
        return STANDARD
            .decode(body)
            .map(Bytes::from)
            .map_err(|error| refused(error.to_string()));
    }
    let path = base.join(&entry.certificate);
    let mut found = read_certificates(&path).map_err(|error| refused(error.to_string()))?;
    match found.len() {
        1 => Ok(found.remove(0).into()),
        count => Err(refused(format!(
            "{} holds {count} certificates, not one",
            path.display()
        ))),
    }
}
