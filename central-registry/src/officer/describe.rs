//! Values of the state in a few words.

use bytes::Bytes;
use prost::Message;
use trust::{configuration::StateKey, wire::configuration as wire};

/// What a value says, for the lines of a difference.
pub(super) fn describe(key: &StateKey, value: &Bytes) -> String {
    let value = value.clone();
    match key {
        StateKey::Member(_) => decoded(value, |member: wire::Member| quoted(&member.name)),
        StateKey::Subsystem(_) => {
            decoded(value, |subsystem: wire::Subsystem| quoted(&subsystem.name))
        }
        StateKey::Server(_) => decoded(value, |server: wire::SecurityServer| server.address),
        StateKey::Registration(..) => decoded(value, |registration: wire::Registration| {
            if registration.enabled {
                "enabled"
            } else {
                "disabled"
            }
            .to_owned()
        }),
        StateKey::Authentication(_) => {
            decoded(value, |certificate: wire::AuthenticationCertificate| {
                format!("of {}", certificate.server)
            })
        }
        StateKey::Log(..) => decoded(value, |key: wire::LogKey| hex::encode(key.public_key)),
        StateKey::Service(..) => decoded(value, |service: wire::Service| {
            match service.descriptor_digest.as_ref() {
                [] => "without descriptor".to_owned(),
                digest => format!("descriptor {}", hex::encode(digest)),
            }
        }),
        StateKey::Authority(_) => decoded(value, |authority: wire::Authority| {
            let uses = [
                (authority.signing, "signing"),
                (authority.authentication, "authentication"),
            ]
            .into_iter()
            .filter_map(|(approved, word)| approved.then_some(word));
            format!(
                "{} for {}",
                quoted(&authority.name),
                uses.collect::<Vec<_>>().join(" and ")
            )
        }),
        StateKey::Officer(_) => decoded(value, |officer: wire::Officer| {
            hex::encode(officer.public_key)
        }),
    }
}

fn decoded<Value: Message + Default>(value: Bytes, words: impl Fn(Value) -> String) -> String {
    Value::decode(value).map_or_else(|_| "(unreadable)".to_owned(), words)
}

/// Names are free text: control characters must not reach a terminal.
fn quoted(name: &str) -> String {
    let shown: String = name
        .chars()
        .map(|found| {
            if found.is_control() {
                '\u{fffd}'
            } else {
                found
            }
        })
        .collect();
    format!("\"{shown}\"")
}
