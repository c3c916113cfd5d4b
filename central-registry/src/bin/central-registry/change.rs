//! Single commands as changes of one key.

use std::{collections::BTreeMap, path::Path};

use bytes::Bytes;
use central_registry::{Error, officer::values, public_key};
use prost::Message;
use trust::{Digest, InstanceId, configuration::StateKey, wire::configuration as wire};

use crate::arguments::{
    AuthorityCommand, CertificateCommand, Decision, LogKeyCommand, MemberCommand, OfficerCommand,
    RegistrationCommand, ServerCommand, ServiceCommand, SubsystemCommand,
};

/// The new value of one key, or none to remove it.
pub struct SingleChange {
    pub key: StateKey,
    pub value: Option<Bytes>,
    pub blobs: BTreeMap<Digest, Bytes>,
    pub decision: Decision,
}

impl SingleChange {
    /// Refuses what is of another instance: the key would name something else in this one.
    pub fn must_be_of(&self, instance: &InstanceId) -> Result<(), Error> {
        match StateKey::parse(instance, &self.key.to_string()) {
            Ok(key) if key == self.key => Ok(()),
            Ok(_) => Err(Error::Unusable(format!(
                "this is the registry of {instance}"
            ))),
            Err(error) => Err(Error::Unusable(error.to_string())),
        }
    }

    fn put(key: StateKey, value: &impl Message, decision: Decision) -> Self {
        let value = Some(value.encode_to_vec().into());
        Self {
            key,
            value,
            blobs: BTreeMap::new(),
            decision,
        }
    }

    const fn remove(key: StateKey, decision: Decision) -> Self {
        Self {
            key,
            value: None,
            blobs: BTreeMap::new(),
            decision,
        }
    }
}

impl From<MemberCommand> for SingleChange {
    fn from(command: MemberCommand) -> Self {
        match command {
            MemberCommand::Add { id, name, decision } => {
                Self::put(StateKey::Member(id), &wire::Member { name }, decision)
            }
            MemberCommand::Remove { id, decision } => Self::remove(StateKey::Member(id), decision),
        }
    }
}

impl From<SubsystemCommand> for SingleChange {
    fn from(command: SubsystemCommand) -> Self {
        match command {
            SubsystemCommand::Add { id, name, decision } => {
                Self::put(StateKey::Subsystem(id), &wire::Subsystem { name }, decision)
            }
            SubsystemCommand::Remove { id, decision } => {
                Self::remove(StateKey::Subsystem(id), decision)
            }
        }
    }
}

impl From<ServerCommand> for SingleChange {
    fn from(command: ServerCommand) -> Self {
        match command {
            ServerCommand::Add {
                id,
                address,
                decision,
            } => Self::put(
                StateKey::Server(id),
                &wire::SecurityServer { address },
                decision,
            ),
            ServerCommand::Remove { id, decision } => Self::remove(StateKey::Server(id), decision),
        }
    }
}

impl From<RegistrationCommand> for SingleChange {
    fn from(command: RegistrationCommand) -> Self {
        let (named, enabled) = match command {
            RegistrationCommand::Add(named) => (named, Some(true)),
            RegistrationCommand::Disable(named) => (named, Some(false)),
            RegistrationCommand::Remove(named) => (named, None),
        };
        let key = StateKey::Registration(named.server, named.subsystem);
        match enabled {
            Some(enabled) => Self::put(key, &wire::Registration { enabled }, named.decision),
            None => Self::remove(key, named.decision),
        }
    }
}

impl TryFrom<CertificateCommand> for SingleChange {
    type Error = Error;

    fn try_from(command: CertificateCommand) -> Result<Self, Error> {
        Ok(match command {
            CertificateCommand::Add {
                file,
                server,
                decision,
            } => {
                let (digest, server) = values::authentication_certificate(&file, server.as_ref())
                    .map_err(Error::Unusable)?;
                let server = server.local().to_owned();
                let value = wire::AuthenticationCertificate { server };
                Self::put(StateKey::Authentication(digest), &value, decision)
            }
            CertificateCommand::Remove {
                certificate,
                decision,
            } => Self::remove(StateKey::Authentication(digest_of(&certificate)?), decision),
        })
    }
}

impl TryFrom<LogKeyCommand> for SingleChange {
    type Error = Error;

    fn try_from(command: LogKeyCommand) -> Result<Self, Error> {
        let LogKeyCommand::Add {
            server,
            generation,
            key,
            decision,
        } = command;
        let value = wire::LogKey {
            public_key: public(&key)?,
        };
        Ok(Self::put(
            StateKey::Log(server, generation),
            &value,
            decision,
        ))
    }
}

impl TryFrom<ServiceCommand> for SingleChange {
    type Error = Error;

    fn try_from(command: ServiceCommand) -> Result<Self, Error> {
        match command {
            ServiceCommand::Add {
                subsystem,
                grpc_service,
                descriptor,
                decision,
            } => {
                let blob = descriptor
                    .map(|file| values::descriptor(&file, &grpc_service))
                    .transpose()?;
                let digest = blob.as_ref().map(|blob| Digest::of(blob));
                let descriptor_digest = digest.map(Digest::to_bytes).unwrap_or_default();
                let key = StateKey::Service(subsystem, grpc_service);
                let mut change = Self::put(key, &wire::Service { descriptor_digest }, decision);
                change.blobs.extend(digest.zip(blob));
                Ok(change)
            }
            ServiceCommand::Remove {
                subsystem,
                grpc_service,
                decision,
            } => Ok(Self::remove(
                StateKey::Service(subsystem, grpc_service),
                decision,
            )),
        }
    }
}

impl TryFrom<AuthorityCommand> for SingleChange {
    type Error = Error;

    fn try_from(command: AuthorityCommand) -> Result<Self, Error> {
        Ok(match command {
            AuthorityCommand::Add {
                file,
                name,
                signing,
                authentication,
                decision,
            } => {
                let certificate = values::authority_certificate(&file).map_err(Error::Unusable)?;
                let name = name.unwrap_or_else(|| certificate.subject().to_owned());
                let value = values::authority(&certificate, &name, signing, authentication);
                Self::put(StateKey::Authority(certificate.digest()), &value, decision)
            }
            AuthorityCommand::Remove {
                certificate,
                decision,
            } => Self::remove(StateKey::Authority(digest_of(&certificate)?), decision),
        })
    }
}

impl TryFrom<OfficerCommand> for SingleChange {
    type Error = Error;

    fn try_from(command: OfficerCommand) -> Result<Self, Error> {
        Ok(match command {
            OfficerCommand::Add {
                name,
                key,
                decision,
            } => {
                let value = wire::Officer {
                    public_key: public(&key)?,
                };
                Self::put(StateKey::Officer(name), &value, decision)
            }
            OfficerCommand::Remove { name, decision } => {
                Self::remove(StateKey::Officer(name), decision)
            }
        })
    }
}

/// A certificate by its file or its digest.
fn digest_of(text: &str) -> Result<Digest, Error> {
    if let Some(digest) = Digest::from_hex(text) {
        return Ok(digest);
    }
    let certificates = certs::file::read_certificates(Path::new(text))?;
    let first = certificates.first().map(|der| Digest::of(der));
    first.ok_or_else(|| Error::Unusable(format!("{text} holds no certificate")))
}

fn public(text: &str) -> Result<Bytes, Error> {
    let key = public_key::read(text, Path::new(""))?;
    Ok(Bytes::copy_from_slice(&key))
}
