//! The state in the form that `apply` accepts.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message;
use trust::{
    ServerId,
    configuration::{State, StateKey},
    wire::configuration as wire,
};

use super::file::{
    AuthorityTable, LogKeyTable, MemberTable, OfficerTable, RegistryFile, ServerTable,
    ServiceTable, SubsystemTable, Use,
};
use crate::Error;

/// The file that says what the state says: applying it changes nothing.
///
/// # Errors
/// When a value does not parse, which no registry publishes.
pub fn file_of(state: &State) -> Result<RegistryFile, Error> {
    let mut file = RegistryFile {
        instance: Some(state.instance().to_string()),
        ..RegistryFile::default()
    };
    let mut servers = BTreeMap::new();
    for (text, value) in state.pairs() {
        let key = StateKey::parse(state.instance(), text)
            .map_err(|error| Error::Unusable(error.to_string()))?;
        put(&mut file, &mut servers, state, &key, value.clone())
            .map_err(|error| Error::Unusable(format!("the value of {text}: {error}")))?;
    }
    file.servers = servers.into_values().collect();
    Ok(file)
}

fn put(
    file: &mut RegistryFile,
    servers: &mut BTreeMap<ServerId, ServerTable>,
    state: &State,
    key: &StateKey,
    value: Bytes,
) -> Result<(), prost::DecodeError> {
    match key {
        StateKey::Member(member) => {
            let name = wire::Member::decode(value)?.name;
            file.members.push(MemberTable {
                id: member.to_string(),
                name,
            });
        }
        StateKey::Subsystem(subsystem) => {
            let name = wire::Subsystem::decode(value)?.name;
            file.subsystems.push(SubsystemTable {
                id: subsystem.to_string(),
                name,
            });
        }
        StateKey::Server(server) => {
            table(servers, server).address = wire::SecurityServer::decode(value)?.address;
        }
        StateKey::Registration(server, subsystem) => {
            let table = table(servers, server);
            let list = if wire::Registration::decode(value)?.enabled {
                &mut table.subsystems
            } else {
                &mut table.disabled_subsystems
            };
            list.get_or_insert_default().push(subsystem.to_string());
        }
        StateKey::Authentication(digest) => {
            let local = wire::AuthenticationCertificate::decode(value)?.server;
            if let Ok(server) = format!("{}/{local}", state.instance()).parse() {
                let list = &mut table(servers, &server).authentication_certificates;
                list.get_or_insert_default().push(digest.to_string());
            }
        }
        StateKey::Log(server, generation) => {
            let key = hex::encode(wire::LogKey::decode(value)?.public_key);
            let list = table(servers, server).log_keys.get_or_insert_default();
            list.push(LogKeyTable {
                generation: *generation,
                key,
            });
        }
        StateKey::Service(subsystem, grpc_service) => {
            let digest = wire::Service::decode(value)?.descriptor_digest;
            file.services.push(ServiceTable {
                subsystem: subsystem.to_string(),
                grpc_service: grpc_service.clone(),
                descriptor: (!digest.is_empty()).then(|| hex::encode(digest)),
            });
        }
        StateKey::Authority(_) => file.authorities.push(authority(value)?),
        StateKey::Officer(name) => {
            let key = hex::encode(wire::Officer::decode(value)?.public_key);
            file.officers.push(OfficerTable {
                name: name.clone(),
                key,
            });
        }
    }
    Ok(())
}

/// The table of a server; its address is filled in when its key comes.
fn table<'a>(
    servers: &'a mut BTreeMap<ServerId, ServerTable>,
    server: &ServerId,
) -> &'a mut ServerTable {
    servers
        .entry(server.clone())
        .or_insert_with(|| ServerTable {
            id: server.to_string(),
            address: String::new(),
            authentication_certificates: None,
            subsystems: None,
            disabled_subsystems: None,
            log_keys: None,
        })
}

fn authority(value: Bytes) -> Result<AuthorityTable, prost::DecodeError> {
    let value = wire::Authority::decode(value)?;
    let uses = [
        (value.signing, Use::Signing),
        (value.authentication, Use::Authentication),
    ];
    Ok(AuthorityTable {
        name: value.name,
        uses: uses
            .into_iter()
            .filter_map(|(approved, found)| approved.then_some(found))
            .collect(),
        certificate: pem(&value.certificate),
    })
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut lines = String::new();
    for (position, digit) in text.char_indices() {
        if position % 64 == 0 {
            lines.push('\n');
        }
        lines.push(digit);
    }
    format!("-----BEGIN CERTIFICATE-----{lines}\n-----END CERTIFICATE-----\n")
}
