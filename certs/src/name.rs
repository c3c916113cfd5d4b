//! Names in certificates: read out as text, and made fit to be shown.

use std::net::IpAddr;

use x509_cert::{
    der::{
        asn1::{Any, PrintableStringRef, Utf8StringRef},
        oid::{
            ObjectIdentifier,
            db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME},
        },
    },
    ext::pkix::{SubjectAltName, name::GeneralName},
    name::Name,
};

/// organizationIdentifier of X.520, as ETSI EN 319 412-3 uses it.
pub(crate) const ORGANIZATION_IDENTIFIER: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.5.4.97");

/// The value of an attribute that a name holds exactly once, as text.
pub(crate) fn only(name: &Name, kind: ObjectIdentifier) -> Option<String> {
    let mut values = name
        .0
        .iter()
        .flat_map(|part| part.0.iter())
        .filter(|attribute| attribute.oid == kind);
    let value = values.next()?;
    match values.next() {
        None => text(&value.value),
        Some(_) => None,
    }
}

fn text(value: &Any) -> Option<String> {
    let utf8 = value
        .decode_as::<Utf8StringRef<'_>>()
        .map(|text| text.to_string());
    utf8.or_else(|_| {
        value
            .decode_as::<PrintableStringRef<'_>>()
            .map(|text| text.to_string())
    })
    .ok()
}

/// `CN=..., O=...`: at most 256 characters, control characters escaped.
pub(crate) fn display(name: &Name) -> String {
    let parts: Vec<_> = name
        .0
        .iter()
        .flat_map(|part| part.0.iter())
        .map(|attribute| {
            let kind = match attribute.oid {
                COMMON_NAME => "CN".into(),
                ORGANIZATION_NAME => "O".into(),
                ORGANIZATION_IDENTIFIER => "organizationIdentifier".into(),
                other => other.to_string(),
            };
            let value = text(&attribute.value)
                .unwrap_or_else(|| format!("#{}", hex::encode(attribute.value.value())));
            format!("{kind}={value}")
        })
        .collect();
    printable(&parts.join(", "))
}

/// Text of a stranger, made fit for a line of a log or a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == 256 {
            shown.push('…');
            break;
        }
        match character {
            '"' | '\\' => shown.extend(['\\', character]),
            // Marks that turn the direction of text could make a name look like another.
            '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' => {
                shown.extend(character.escape_unicode());
            }
            control if control.is_control() => shown.extend(control.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

pub(crate) fn host_names(names: &SubjectAltName) -> Vec<String> {
    names
        .0
        .iter()
        .filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(printable(name.as_str())),
            GeneralName::IpAddress(address) => match address.as_bytes() {
                bytes if bytes.len() == 4 => {
                    Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string())
                }
                bytes => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
            },
            _ => None,
        })
        .collect()
}
