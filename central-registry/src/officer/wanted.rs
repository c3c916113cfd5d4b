//! What is wanted, as keys and values of the state: from the file, checked place by place.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest, InstanceId, ServerId, SubsystemId, configuration::StateKey, wire::configuration as wire,
};

use super::{
    file::{AuthorityTable, LogKeyTable, RegistryFile, ServerTable, ServiceTable, Use},
    values,
};
use crate::{Error, public_key};

/// Whether what is not wanted goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// It stays.
    No,
    /// It goes. Officers go only if some are wanted.
    Yes,
}

/// The keys and values that are wanted.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Where the files that are named lie.
    folder: PathBuf,
    pub(super) values: BTreeMap<StateKey, Bytes>,
    /// Servers whose registrations, certificates or log keys are wanted completely.
    pub(super) complete: BTreeSet<(ServerId, List)>,
    pub(super) blobs: BTreeMap<Digest, Bytes>,
}

/// A list of things of one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    Registrations,
    Certificates,
    LogKeys,
}

impl Wanted {
    /// Reads a file. The files it names lie beside it.
    ///
    /// # Errors
    /// The file and the place where it says something that cannot be.
    pub fn load(path: &Path, instance: &InstanceId) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(Error::file("reading", path))?;
        let file: RegistryFile =
            toml::from_str(&text).map_err(|error| Error::content(path, error))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("."));
        Self::of_file(&file, folder, instance).map_err(|problem| Error::content(path, problem))
    }

    /// Takes over what a file says.
    fn of_file(file: &RegistryFile, folder: &Path, instance: &InstanceId) -> Result<Self, String> {
        if file
            .instance
            .as_ref()
            .is_some_and(|named| named != instance.as_str())
        {
            return Err(format!("instance: this is the registry of {instance}"));
        }
        let mut wanted = Self {
            folder: folder.to_owned(),
            ..Self::default()
        };
        for (table, position) in file.members.iter().zip(0_usize..) {
            wanted
                .member(&table.id, &table.name)
                .map_err(at("members", position, &table.id))?;
        }
        for (table, position) in file.subsystems.iter().zip(0_usize..) {
            wanted.subsystem(&table.id, &table.name).map_err(at(
                "subsystems",
                position,
                &table.id,
            ))?;
        }
        for (table, position) in file.servers.iter().zip(0_usize..) {
            wanted
                .server(table)
                .map_err(at("servers", position, &table.id))?;
        }
        for (table, position) in file.services.iter().zip(0_usize..) {
            wanted
                .service(table)
                .map_err(at("services", position, &table.grpc_service))?;
        }
        for (table, position) in file.authorities.iter().zip(0_usize..) {
            wanted
                .authority(table)
                .map_err(at("authorities", position, &table.name))?;
        }
        for (table, position) in file.officers.iter().zip(0_usize..) {
            wanted.officer(&table.name, &table.key).map_err(at(
                "officers",
                position,
                &table.name,
            ))?;
        }
        wanted.of_instance(instance)?;
        Ok(wanted)
    }

    fn member(&mut self, id: &str, name: &str) -> Result<(), String> {
        let key = StateKey::Member(parsed(id)?);
        self.want(
            key,
            &wire::Member {
                name: name.to_owned(),
            },
        )
    }

    fn subsystem(&mut self, id: &str, name: &str) -> Result<(), String> {
        let key = StateKey::Subsystem(parsed(id)?);
        self.want(
            key,
            &wire::Subsystem {
                name: name.to_owned(),
            },
        )
    }

    fn server(&mut self, table: &ServerTable) -> Result<(), String> {
        let server: ServerId = parsed(&table.id)?;
        let address = table.address.clone();
        self.want(
            StateKey::Server(server.clone()),
            &wire::SecurityServer { address },
        )?;
        for (enabled, list, name) in [
            (true, &table.subsystems, "subsystems"),
            (false, &table.disabled_subsystems, "disabled_subsystems"),
        ] {
            for (id, position) in list.iter().flatten().zip(0_usize..) {
                let subsystem: SubsystemId = parsed(id).map_err(at(name, position, id))?;
                let key = StateKey::Registration(server.clone(), subsystem);
                self.want(key, &wire::Registration { enabled })?;
            }
            self.complete_if_given(&server, list.is_some(), List::Registrations);
        }
        let certificates = &table.authentication_certificates;
        for (text, position) in certificates.iter().flatten().zip(0_usize..) {
            self.certificate(&server, text).map_err(at(
                "authentication_certificates",
                position,
                text,
            ))?;
        }
        self.complete_if_given(&server, certificates.is_some(), List::Certificates);
        for (table, position) in table.log_keys.iter().flatten().zip(0_usize..) {
            self.log_key(&server, table)
                .map_err(at("log_keys", position, &table.key))?;
        }
        self.complete_if_given(&server, table.log_keys.is_some(), List::LogKeys);
        Ok(())
    }

    fn complete_if_given(&mut self, server: &ServerId, given: bool, list: List) {
        if given {
            self.complete.insert((server.clone(), list));
        }
    }

    fn certificate(&mut self, server: &ServerId, text: &str) -> Result<(), String> {
        let value = wire::AuthenticationCertificate {
            server: server.local().to_owned(),
        };
        let digest = match Digest::from_hex(text) {
            // `show` names certificates so; the registry keeps nothing else of them.
            Some(digest) => digest,
            None => values::authentication_certificate(&self.folder.join(text), Some(server))?.0,
        };
        self.want(StateKey::Authentication(digest), &value)
    }

    fn log_key(&mut self, server: &ServerId, table: &LogKeyTable) -> Result<(), String> {
        let public_key = self.public_key(&table.key)?;
        let key = StateKey::Log(server.clone(), table.generation);
        self.want(key, &wire::LogKey { public_key })
    }

    fn service(&mut self, table: &ServiceTable) -> Result<(), String> {
        let descriptor_digest = match &table.descriptor {
            None => Bytes::new(),
            Some(text) => match Digest::from_hex(text) {
                Some(digest) => digest.to_bytes(),
                None => {
                    let blob = values::descriptor(&self.folder.join(text), &table.grpc_service)
                        .map_err(|error| error.to_string())?;
                    let digest = Digest::of(&blob);
                    self.blobs.insert(digest, blob);
                    digest.to_bytes()
                }
            },
        };
        let key = StateKey::Service(parsed(&table.subsystem)?, table.grpc_service.clone());
        self.want(key, &wire::Service { descriptor_digest })
    }

    fn authority(&mut self, table: &AuthorityTable) -> Result<(), String> {
        let certificate = if table.certificate.starts_with("-----BEGIN") {
            values::of_authority(&values::pem_text(&table.certificate)?)?
        } else {
            values::authority_certificate(&self.folder.join(&table.certificate))?
        };
        let [signing, authentication] =
            [Use::Signing, Use::Authentication].map(|found| table.uses.contains(&found));
        if !signing && !authentication {
            return Err("use: approve it for signing, authentication, or both".to_owned());
        }
        let value = values::authority(&certificate, &table.name, signing, authentication);
        self.want(StateKey::Authority(certificate.digest()), &value)
    }

    fn officer(&mut self, name: &str, key: &str) -> Result<(), String> {
        let public_key = self.public_key(key)?;
        self.want(
            StateKey::Officer(name.to_owned()),
            &wire::Officer { public_key },
        )
    }

    fn public_key(&self, text: &str) -> Result<Bytes, String> {
        let key = public_key::read(text, &self.folder).map_err(|error| chain(&error))?;
        Ok(Bytes::copy_from_slice(&key))
    }

    fn want(&mut self, key: StateKey, value: &impl Message) -> Result<(), String> {
        match self.values.entry(key) {
            Entry::Occupied(taken) => Err(format!("{} is named twice", taken.key())),
            Entry::Vacant(free) => {
                free.insert(value.encode_to_vec().into());
                Ok(())
            }
        }
    }

    /// Whether every key reads back as one of this instance.
    fn of_instance(&self, instance: &InstanceId) -> Result<(), String> {
        for key in self.values.keys() {
            match StateKey::parse(instance, &key.to_string()) {
                Ok(parsed) if parsed == *key => {}
                Ok(_) => return Err(format!("{key} is not of instance {instance}")),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }
}

fn parsed<Id: std::str::FromStr<Err = trust::InvalidIdentifier>>(text: &str) -> Result<Id, String> {
    text.parse()
        .map_err(|error: trust::InvalidIdentifier| error.to_string())
}

/// Puts the place before a problem: `servers[2] (VN/GOV/G01/server-1): ...`.
fn at(list: &str, position: usize, named: &str) -> impl FnOnce(String) -> String {
    let short: String = named.chars().take(80).collect();
    let place = format!("{list}[{position}] ({short})");
    move |problem| format!("{place}: {problem}")
}

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text
}
