//! Keys of the configuration state: what a value is about.

use std::fmt;

use crate::{Digest, InstanceId, InvalidIdentifier, MemberId, MethodPath, ServerId, SubsystemId};

/// The most that the text of a key may measure, in bytes.
pub const KEY_LIMIT: usize = 512;

/// A parsed key. Its text names nothing of the instance, which the whole state belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKey {
    /// `member/CLASS/MEMBER`
    Member(MemberId),
    /// `subsystem/CLASS/MEMBER/SUBSYSTEM`
    Subsystem(SubsystemId),
    /// `server/CLASS/MEMBER/SERVER`
    Server(ServerId),
    /// `registration/CLASS/MEMBER/SERVER/CLASS/MEMBER/SUBSYSTEM`
    Registration(ServerId, SubsystemId),
    /// `authentication/DIGEST` of a server's TLS certificate
    Authentication(Digest),
    /// `log/CLASS/MEMBER/SERVER/GENERATION`
    Log(ServerId, u32),
    /// `service/CLASS/MEMBER/SUBSYSTEM/GRPC_SERVICE`
    Service(SubsystemId, String),
    /// `authority/DIGEST` of a certification authority's certificate
    Authority(Digest),
    /// `officer/NAME`
    Officer(String),
}

impl StateKey {
    /// Parses a key of `instance`'s state. Every key has exactly one text.
    ///
    /// # Errors
    /// When the text is no key.
    pub fn parse(instance: &InstanceId, text: &str) -> Result<Self, InvalidIdentifier> {
        let invalid = || InvalidIdentifier::key(text);
        if text.len() > KEY_LIMIT {
            return Err(invalid());
        }
        let (kind, rest) = text.split_once('/').ok_or_else(invalid)?;
        let full = |local: &str| format!("{instance}/{local}");
        let digest = |text: &str| Digest::from_hex(text).ok_or_else(invalid);
        let key = match kind {
            "member" => Self::Member(full(rest).parse()?),
            "subsystem" => Self::Subsystem(full(rest).parse()?),
            "server" => Self::Server(full(rest).parse()?),
            "registration" => {
                let third_slash = rest.match_indices('/').nth(2).ok_or_else(invalid)?.0;
                let (server, subsystem) = rest.split_at(third_slash);
                let subsystem = subsystem.strip_prefix('/').ok_or_else(invalid)?;
                Self::Registration(full(server).parse()?, full(subsystem).parse()?)
            }
            "authentication" => Self::Authentication(digest(rest)?),
            "log" => {
                let (server, generation) = rest.rsplit_once('/').ok_or_else(invalid)?;
                let generation = generation.parse().map_err(|_| invalid())?;
                Self::Log(full(server).parse()?, generation)
            }
            "service" => {
                let (subsystem, grpc_service) = rest.rsplit_once('/').ok_or_else(invalid)?;
                MethodPath::new(grpc_service, "Method")?;
                Self::Service(full(subsystem).parse()?, grpc_service.to_owned())
            }
            "authority" => Self::Authority(digest(rest)?),
            "officer" => Self::Officer(rest.parse::<InstanceId>()?.to_string()),
            _ => return Err(invalid()),
        };
        // One text per key: "log/.../01" or upper-case digits must not name a second one.
        if key.to_string() == text {
            Ok(key)
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for StateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => write!(formatter, "member/{}", member.local()),
            Self::Subsystem(subsystem) => write!(formatter, "subsystem/{}", subsystem.local()),
            Self::Server(server) => write!(formatter, "server/{}", server.local()),
            Self::Registration(server, subsystem) => {
                write!(
                    formatter,
                    "registration/{}/{}",
                    server.local(),
                    subsystem.local()
                )
            }
            Self::Authentication(digest) => write!(formatter, "authentication/{digest}"),
            Self::Log(server, generation) => {
                write!(formatter, "log/{}/{generation}", server.local())
            }
            Self::Service(subsystem, grpc_service) => {
                write!(formatter, "service/{}/{grpc_service}", subsystem.local())
            }
            Self::Authority(digest) => write!(formatter, "authority/{digest}"),
            Self::Officer(name) => write!(formatter, "officer/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_text() {
        let instance: InstanceId = "VN".parse().unwrap();
        let digest = Digest::of(b"x");
        for text in [
            "member/GOV/G01".to_owned(),
            "subsystem/GOV/G01/population".to_owned(),
            "server/GOV/G01/server-1".to_owned(),
            "registration/GOV/G01/server-1/GOV/G02/tax".to_owned(),
            format!("authentication/{digest}"),
            "log/GOV/G01/server-1/1".to_owned(),
            "service/GOV/G01/population/vn.population.v1.Population".to_owned(),
            format!("authority/{digest}"),
            "officer/first".to_owned(),
            format!("service/GOV/G01/population/{}", "s".repeat(KEY_LIMIT - 27)),
        ] {
            let key = StateKey::parse(&instance, &text).unwrap();
            assert_eq!(key.to_string(), text);
        }
        for text in [
            "member/GOV".to_owned(),
            "member/GOV/G01/x".to_owned(),
            "registration/GOV/G01/server-1".to_owned(),
            "log/GOV/G01/server-1/01".to_owned(),
            "log/GOV/G01/server-1/-1".to_owned(),
            format!("authority/{}", digest.to_string().to_uppercase()),
            "officer/a/b".to_owned(),
            format!("service/GOV/G01/population/{}", "s".repeat(KEY_LIMIT - 26)),
            "colour/red".to_owned(),
            String::new(),
        ] {
            assert!(StateKey::parse(&instance, &text).is_err(), "{text}");
        }
    }
}
