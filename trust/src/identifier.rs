//! Identifiers: `INSTANCE/CLASS/MEMBER/SUBSYSTEM` and their parts, parsed once at the edge.

use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is no identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct InvalidIdentifier {
    /// The text, cut to 128 characters and escaped.
    pub text: String,
    /// What was expected, in words.
    pub expected: &'static str,
}

impl InvalidIdentifier {
    pub(crate) fn key(text: &str) -> Self {
        Self::new(text, "a key of the configuration (KIND/NAME)")
    }

    pub(crate) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text
                .chars()
                .take(128)
                .flat_map(char::escape_default)
                .collect(),
            expected,
        }
    }
}

fn is_part(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
}

/// Splits `text` into exactly `N` valid parts.
fn parts<'a, const N: usize>(
    text: &'a str,
    expected: &'static str,
) -> Result<[&'a str; N], InvalidIdentifier> {
    let mut found = [""; N];
    let mut given = text.split('/');
    for slot in &mut found {
        *slot = given
            .next()
            .filter(|part| is_part(part))
            .ok_or_else(|| InvalidIdentifier::new(text, expected))?;
    }
    match given.next() {
        None => Ok(found),
        Some(_) => Err(InvalidIdentifier::new(text, expected)),
    }
}

/// Gives an identifier kept as one checked text its usual traits.
macro_rules! text_identifier {
    ($name:ident, $count:literal, $expected:literal) => {
        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidIdentifier;

            fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
                const EXPECTED: &str = concat!(
                    $expected,
                    ": each part is 1 to 64 of A-Z a-z 0-9 . - and not . or .."
                );
                parts::<$count>(text, EXPECTED).map(|_| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

/// An instance of the bus: `VN`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);
text_identifier!(InstanceId, 1, "an instance (INSTANCE)");

/// A member: `VN/GOV/G01`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);
text_identifier!(MemberId, 3, "a member (INSTANCE/CLASS/MEMBER)");

/// A subsystem of a member: `VN/GOV/G01/population`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubsystemId(Arc<str>);
text_identifier!(
    SubsystemId,
    4,
    "a subsystem (INSTANCE/CLASS/MEMBER/SUBSYSTEM)"
);

/// A security server, named by its owner: `VN/GOV/G01/server-1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Arc<str>);
text_identifier!(
    ServerId,
    4,
    "a security server (INSTANCE/CLASS/MEMBER/SERVER)"
);

/// The text before the last slash.
fn parent(text: &str) -> &str {
    text.rsplit_once('/').map_or(text, |(parent, _)| parent)
}

/// The text after the first slash: the identifier inside its instance.
fn local(text: &str) -> &str {
    text.split_once('/').map_or(text, |(_, local)| local)
}

fn instance(text: &str) -> &str {
    text.split_once('/').map_or(text, |(instance, _)| instance)
}

impl MemberId {
    /// The instance that the member belongs to.
    #[must_use]
    pub fn instance(&self) -> &str {
        instance(&self.0)
    }

    /// `CLASS/MEMBER`: the name inside the instance, as used in configuration keys.
    #[must_use]
    pub fn local(&self) -> &str {
        local(&self.0)
    }
}

impl SubsystemId {
    /// The instance that the subsystem belongs to.
    #[must_use]
    pub fn instance(&self) -> &str {
        instance(&self.0)
    }

    /// The member that the subsystem belongs to.
    #[must_use]
    pub fn member(&self) -> MemberId {
        MemberId(parent(&self.0).into())
    }

    /// `CLASS/MEMBER/SUBSYSTEM`: the name inside the instance, as used in configuration keys.
    #[must_use]
    pub fn local(&self) -> &str {
        local(&self.0)
    }
}

impl ServerId {
    /// The instance that the server belongs to.
    #[must_use]
    pub fn instance(&self) -> &str {
        instance(&self.0)
    }

    /// The member that owns the server.
    #[must_use]
    pub fn owner(&self) -> MemberId {
        MemberId(parent(&self.0).into())
    }

    /// `CLASS/MEMBER/SERVER`: the name inside the instance, as used in configuration keys.
    #[must_use]
    pub fn local(&self) -> &str {
        local(&self.0)
    }

    /// The server's own code, the last part.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, code)| code)
    }
}

/// A gRPC service and method, from a path that is exactly `/package.Service/Method`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MethodPath {
    service: Arc<str>,
    method: Arc<str>,
}

impl MethodPath {
    const EXPECTED: &'static str = "a gRPC method path (/package.Service/Method)";

    /// Parses the path of a gRPC call; no decoding, no normalisation, nothing after the method.
    ///
    /// # Errors
    /// When the path is not two protobuf names of together at most 512 bytes.
    pub fn parse(path: &str) -> Result<Self, InvalidIdentifier> {
        let invalid = || InvalidIdentifier::new(path, Self::EXPECTED);
        let (service, method) = path
            .strip_prefix('/')
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(invalid)?;
        Self::new(service, method).map_err(|_| invalid())
    }

    /// The same from its two names.
    ///
    /// # Errors
    /// When one of them is not a protobuf name.
    pub fn new(service: &str, method: &str) -> Result<Self, InvalidIdentifier> {
        let valid = service.len() + method.len() <= 512
            && service.split('.').all(is_protobuf_name)
            && is_protobuf_name(method);
        if !valid {
            return Err(InvalidIdentifier::new(
                &format!("/{service}/{method}"),
                Self::EXPECTED,
            ));
        }
        Ok(Self {
            service: service.into(),
            method: method.into(),
        })
    }

    /// `package.Service`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// `Method`.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }
}

/// A protobuf name: a letter or underscore, then letters, digits, underscores.
fn is_protobuf_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl fmt::Display for MethodPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "/{}/{}", self.service, self.method)
    }
}

impl fmt::Debug for MethodPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MethodPath({self})")
    }
}

/// An exchange: a UUID version 7 (RFC 9562), what an auditor asks for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(uuid::Uuid);

impl ExchangeId {
    /// Parses the 16 bytes of a header; other versions and variants are refused.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let id = uuid::Uuid::from_slice(bytes).ok()?;
        let valid = id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122;
        valid.then_some(Self(id))
    }

    /// Makes one from a time (milliseconds since 1970) and ten random bytes.
    #[must_use]
    pub fn from_parts(milliseconds: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(milliseconds, random).into_uuid())
    }

    /// The time within it: milliseconds since 1970 (UTC).
    #[must_use]
    pub fn milliseconds(&self) -> u64 {
        let time = self.as_bytes().iter().take(6);
        time.fold(0, |time, byte| time << 8 | u64::from(*byte))
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for ExchangeId {
    type Err = InvalidIdentifier;

    /// Reads the one text of an id, hyphenated and in lower case: who searches for it finds it.
    fn from_str(text: &str) -> Result<Self, InvalidIdentifier> {
        const EXPECTED: &str = "an exchange id (UUID version 7, hyphenated, in lower case)";
        uuid::Uuid::parse_str(text)
            .ok()
            .and_then(|id| Self::from_slice(id.as_bytes()))
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| InvalidIdentifier::new(text, EXPECTED))
    }
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(formatter)
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ExchangeId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subsystem_knows_its_member_and_instance() {
        let subsystem: SubsystemId = "VN/GOV/H37.02.02/population".parse().unwrap();
        assert_eq!(subsystem.instance(), "VN");
        assert_eq!(subsystem.member().as_str(), "VN/GOV/H37.02.02");
        assert_eq!(subsystem.local(), "GOV/H37.02.02/population");
    }

    #[test]
    fn parts_are_bounded_and_never_a_path_step() {
        let long = "a".repeat(65);
        for text in [
            "VN",
            "VN/GOV/G01",
            "VN/GOV/G01/a/b",
            "VN/GOV//a",
            "VN/GOV/../a",
            "VN/GOV/./a",
            "VN/GOV/G 1/a",
            "VN/GOV/G%2f/a",
            "/VN/GOV/G01/a",
            "VN/GOV/G01/é",
            &format!("VN/GOV/G01/{long}"),
        ] {
            assert!(text.parse::<SubsystemId>().is_err(), "{text}");
        }
        assert!(
            format!("VN/GOV/G01/{}", "a".repeat(64))
                .parse::<SubsystemId>()
                .is_ok()
        );
    }

    #[test]
    fn a_method_path_has_exactly_one_form() {
        let path = MethodPath::parse("/a.b.C/Do_It").unwrap();
        assert_eq!((path.service(), path.method()), ("a.b.C", "Do_It"));
        for text in [
            "a.B/C", "/a.B", "/a.B/C/", "/a.B/C/D", "/a..B/C", "/a.B/C?x", "/a.B/%43", "//C",
            "/a.B/",
        ] {
            assert!(MethodPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_exchange_id_is_a_uuid_of_version_7_only() {
        let id = ExchangeId::from_parts(1_700_000_000_000, &[7; 10]);
        assert_eq!(id.to_string().parse::<ExchangeId>().unwrap(), id);
        assert_eq!(id.milliseconds(), 1_700_000_000_000);
        for text in [
            id.to_string().to_uppercase(),
            id.to_string().replace('-', ""),
            format!("{{{id}}}"),
            format!("urn:uuid:{id}"),
        ] {
            assert!(text.parse::<ExchangeId>().is_err(), "{text}");
        }
        assert!(
            "b2f7e2c2-7c1b-4f0e-9a55-0a4ef0d9a3f1"
                .parse::<ExchangeId>()
                .is_err()
        );
        assert!(ExchangeId::from_slice(&[0; 16]).is_none());
    }
}
