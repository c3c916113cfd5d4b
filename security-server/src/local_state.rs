//! What this server hosts and allows: the fold of the change records of its log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tokio_rustls::rustls::pki_types::ServerName;
use trust::{
    Digest, MethodPath, Reason, Refusal, SubsystemId,
    access::{self, AccessRight, Question, REFLECTION_SERVICES},
    wire::evidence::{
        Change, ClientCertificateKey, ServiceKey,
        change::{Key, Value},
    },
};

/// A change that cannot be applied.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidChange(String);

/// A service hosted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Where its adapter answers.
    pub adapter: AdapterAddress,
    /// Milliseconds a call may take; none: as long as the caller allows.
    pub timeout_milliseconds: Option<u64>,
}

/// Where an adapter listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AdapterAddress {
    /// `http://127.0.0.1:PORT`, allowed in words.
    Loopback(std::net::SocketAddr),
    /// `unix:PATH`.
    Unix(std::path::PathBuf),
    /// `https://HOST:PORT`, on another machine.
    Tls {
        /// A name or address of its certificate.
        host: String,
        /// Its port.
        port: u16,
    },
}

impl AdapterAddress {
    /// Parses an address; plain text beyond this machine is refused.
    fn parse(text: &str, plaintext_loopback: bool) -> Result<Self, InvalidChange> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.starts_with('/') {
                return Ok(Self::Unix(path.into()));
            }
            return Err(InvalidChange(format!(
                "{text}: the path of a Unix socket is absolute"
            )));
        }
        if let Some(rest) = text.strip_prefix("https://") {
            if plaintext_loopback {
                return Err(InvalidChange(format!(
                    "{text} is no plain text; leave plaintext_loopback out"
                )));
            }
            return Self::parse_tls(rest)
                .ok_or_else(|| InvalidChange(format!("{text} is not https://HOST:PORT")));
        }
        let address = text
            .strip_prefix("http://")
            .and_then(|rest| rest.parse::<std::net::SocketAddr>().ok())
            .ok_or_else(|| {
                InvalidChange(format!(
                    "{text} is none of unix:/PATH, http://ADDRESS:PORT and https://HOST:PORT"
                ))
            })?;
        if !address.ip().is_loopback() {
            return Err(InvalidChange(format!(
                "{text} is not on this machine; use https:// with [adapters] in server.toml, or put the adapter beside its security server"
            )));
        }
        if !plaintext_loopback {
            return Err(InvalidChange(format!(
                "{text} is plain text; say plaintext_loopback = true, or use a Unix socket"
            )));
        }
        Ok(Self::Loopback(address))
    }

    /// `HOST:PORT`, an address of IPv6 in brackets.
    fn parse_tls(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let bare = match host.strip_prefix('[') {
            Some(bracketed) => bracketed
                .strip_suffix(']')
                .filter(|inner| inner.contains(':'))?,
            None => Some(host).filter(|host| !host.contains(':'))?,
        };
        ServerName::try_from(bare).ok()?;
        let host = bare.to_owned();
        Some(Self::Tls { host, port })
    }
}

impl std::fmt::Display for AdapterAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loopback(address) => write!(formatter, "http://{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tls { host, port } if host.contains(':') => {
                write!(formatter, "https://[{host}]:{port}")
            }
            Self::Tls { host, port } => write!(formatter, "https://{host}:{port}"),
        }
    }
}

/// The access right that allows a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// The index of the record that granted it.
    pub index: u64,
    /// Its id.
    pub id: Arc<str>,
}

/// A right that was granted.
#[derive(Debug, Clone)]
struct Granted {
    allowed: Allowed,
    right: AccessRight,
}

/// The state, immutable; a change makes the next one.
#[derive(Debug, Clone, Default)]
pub struct LocalState {
    /// How many changes have led to this state.
    pub changes: u64,
    /// Subsystems hosted here and whether they are enabled.
    pub subsystems: BTreeMap<SubsystemId, bool>,
    /// Services by subsystem and gRPC service.
    pub services: BTreeMap<(SubsystemId, String), LocalService>,
    /// Client certificates: the subsystem each speaks for.
    pub certificates: BTreeMap<Digest, SubsystemId>,
    /// Rights by their id, with the index of the record that granted them.
    pub rights: BTreeMap<String, (u64, AccessRight)>,
    /// The same by client and service, so that a decision does not look at the others.
    rights_of: HashMap<(SubsystemId, SubsystemId), Vec<Granted>>,
    /// What is shown: the newest change of every key, sorted by kind and key.
    shown: BTreeMap<(u8, String), Change>,
}

impl LocalState {
    /// Applies one change recorded at `index`.
    ///
    /// # Errors
    /// In words, when the change is not one that can be made; the state may then be half changed
    /// and must be thrown away.
    pub fn apply(&mut self, index: u64, change: &Change) -> Result<(), InvalidChange> {
        let key = change
            .key
            .as_ref()
            .ok_or_else(|| InvalidChange("no key".to_owned()))?;
        match (key, &change.value) {
            (Key::Subsystem(subsystem), value) => {
                self.apply_subsystem(parse(subsystem)?, value.as_ref())?;
            }
            (Key::Service(service), value) => self.apply_service(service, value.as_ref())?,
            (Key::ClientCertificate(digest), value) => {
                self.apply_certificate(&digest.digest, value.as_ref())?;
            }
            (Key::AccessRight(id), value) => self.apply_right(index, id, value.as_ref())?,
        }
        let shown = shown_key(key);
        if change.value.is_some() {
            self.shown.insert(
                shown,
                Change {
                    unix_user: 0,
                    ..change.clone()
                },
            );
        } else if self.shown.remove(&shown).is_none() {
            return Err(InvalidChange("there is nothing to remove".to_owned()));
        }
        self.changes += 1;
        Ok(())
    }

    fn apply_subsystem(
        &mut self,
        subsystem: SubsystemId,
        value: Option<&Value>,
    ) -> Result<(), InvalidChange> {
        match value {
            Some(Value::LocalSubsystem(local)) => {
                self.subsystems.insert(subsystem, local.enabled);
            }
            None => {
                let used = self.services.keys().any(|(host, _)| *host == subsystem)
                    || self.certificates.values().any(|of| *of == subsystem)
                    || self
                        .rights
                        .values()
                        .any(|(_, right)| right.service == subsystem);
                if used {
                    return Err(InvalidChange(format!(
                        "{subsystem} still has services, client certificates or access rights; remove them first"
                    )));
                }
                self.subsystems.remove(&subsystem);
            }
            Some(_) => return Err(wrong_value()),
        }
        Ok(())
    }

    fn apply_service(
        &mut self,
        key: &ServiceKey,
        value: Option<&Value>,
    ) -> Result<(), InvalidChange> {
        let subsystem = self.hosted(&key.subsystem)?;
        let name = MethodPath::new(&key.grpc_service, "Method").map_err(invalid)?;
        let key = (subsystem, name.service().to_owned());
        match value {
            Some(Value::LocalService(local)) => {
                let adapter = AdapterAddress::parse(&local.adapter, local.plaintext_loopback)?;
                let timeout = Some(local.timeout_milliseconds).filter(|timeout| *timeout > 0);
                let service = LocalService {
                    adapter,
                    timeout_milliseconds: timeout,
                };
                self.services.insert(key, service);
            }
            None => {
                self.services.remove(&key);
            }
            Some(_) => return Err(wrong_value()),
        }
        Ok(())
    }

    fn apply_certificate(
        &mut self,
        digest: &Bytes,
        value: Option<&Value>,
    ) -> Result<(), InvalidChange> {
        let digest = Digest::from_slice(digest)
            .ok_or_else(|| InvalidChange("a certificate digest has 32 bytes".to_owned()))?;
        match value {
            Some(Value::Certificate(certificate)) => {
                if Digest::of(&certificate.certificate) != digest {
                    return Err(InvalidChange(
                        "the digest is of another certificate".to_owned(),
                    ));
                }
                let subsystem = self.hosted(&certificate.subsystem)?;
                self.certificates.insert(digest, subsystem);
            }
            None => {
                self.certificates.remove(&digest);
            }
            Some(_) => return Err(wrong_value()),
        }
        Ok(())
    }

    fn apply_right(
        &mut self,
        index: u64,
        id: &str,
        value: Option<&Value>,
    ) -> Result<(), InvalidChange> {
        if id.is_empty() || id.len() > 128 {
            return Err(InvalidChange(
                "the id of an access right has 1 to 128 bytes".to_owned(),
            ));
        }
        if let Some(removed) = self.rights.remove(id) {
            let former = &removed.1;
            let pair = (former.client.clone(), former.service.clone());
            if let Some(rights) = self.rights_of.get_mut(&pair) {
                rights.retain(|granted| *granted.allowed.id != *id);
            }
        }
        match value {
            Some(Value::Right(right)) => {
                let right = AccessRight::try_from(right).map_err(invalid)?;
                self.hosted(right.service.as_str())?;
                let pair = (right.client.clone(), right.service.clone());
                self.rights_of.entry(pair).or_default().push(Granted {
                    allowed: Allowed {
                        index,
                        id: id.into(),
                    },
                    right: right.clone(),
                });
                self.rights.insert(id.to_owned(), (index, right));
            }
            None => {}
            Some(_) => return Err(wrong_value()),
        }
        Ok(())
    }

    fn hosted(&self, subsystem: &str) -> Result<SubsystemId, InvalidChange> {
        let subsystem = parse(subsystem)?;
        if self.subsystems.contains_key(&subsystem) {
            Ok(subsystem)
        } else {
            Err(InvalidChange(format!(
                "{subsystem} is not a subsystem of this server; add it first"
            )))
        }
    }

    /// The state as it is kept: the changes that would make it, each with the index that
    /// [`Self::restored`] needs of it.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u64, &Change)> {
        let index_of = |key: Option<&Key>| match key {
            Some(Key::AccessRight(id)) => self.rights.get(id).map_or(0, |(index, _)| *index),
            _ => 0,
        };
        let mut kept: Vec<_> = self
            .shown
            .values()
            .map(|change| (index_of(change.key.as_ref()), change))
            .collect();
        // Rights are looked through in the order in which they were granted.
        kept.sort_by_key(|(index, _)| *index);
        kept.into_iter()
    }

    /// The state that `changes` changes had led to when it was kept.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn restored(
        changes: u64,
        kept: impl IntoIterator<Item = (u64, Change)>,
    ) -> Result<Self, InvalidChange> {
        let mut state = Self::default();
        for (index, change) in kept {
            state.apply(index, &change)?;
        }
        state.changes = changes;
        Ok(state)
    }

    /// The state as the changes that would make it, in an order in which they can be applied.
    pub fn shown(&self) -> impl Iterator<Item = &Change> {
        self.shown.values()
    }

    /// Decides whether a call is allowed, and by which right.
    ///
    /// # Errors
    /// The refusal that [`access::decide`] gives.
    pub fn decide(&self, question: &Question<'_>) -> Result<&Allowed, Refusal> {
        let pair = (question.client.clone(), question.service.clone());
        let rights = self.rights_of.get(&pair).map_or(&[][..], Vec::as_slice);
        access::decide(
            rights
                .iter()
                .map(|granted| (&granted.allowed, &granted.right)),
            question,
        )
    }

    /// The hosted service that a call is for. Reflection goes to the adapter of the first service
    /// of the subsystem, by name.
    ///
    /// # Errors
    /// `UnknownService` or `SubsystemDisabled`.
    pub fn service(
        &self,
        subsystem: &SubsystemId,
        method: &MethodPath,
    ) -> Result<&LocalService, Refusal> {
        match self.subsystems.get(subsystem) {
            Some(true) => {}
            Some(false) => {
                return Err(Refusal::new(
                    Reason::SubsystemDisabled,
                    format!("{subsystem} is disabled"),
                ));
            }
            None => {
                return Err(Refusal::new(
                    Reason::UnknownService,
                    format!("{subsystem} is not hosted here"),
                ));
            }
        }
        let found = if REFLECTION_SERVICES.contains(&method.service()) {
            let first = (subsystem.clone(), String::new());
            let next = self.services.range(first..).next();
            next.filter(|((host, _), _)| host == subsystem)
                .map(|(_, service)| service)
        } else {
            self.services
                .get(&(subsystem.clone(), method.service().to_owned()))
        };
        found.ok_or_else(|| {
            Refusal::new(
                Reason::UnknownService,
                format!("{subsystem} has no service {} here", method.service()),
            )
        })
    }
}

fn parse(subsystem: &str) -> Result<SubsystemId, InvalidChange> {
    subsystem.parse().map_err(invalid)
}

fn invalid(error: impl std::fmt::Display) -> InvalidChange {
    InvalidChange(error.to_string())
}

fn wrong_value() -> InvalidChange {
    InvalidChange("the value is of another kind than the key".to_owned())
}

/// Subsystems first, since the others name them.
fn shown_key(key: &Key) -> (u8, String) {
    match key {
        Key::Subsystem(subsystem) => (0, subsystem.clone()),
        Key::Service(key) => (1, format!("{}/{}", key.subsystem, key.grpc_service)),
        Key::ClientCertificate(ClientCertificateKey { digest }) => (2, hex::encode(digest)),
        Key::AccessRight(id) => (3, id.clone()),
    }
}
