//! Access rights: may this client call this method, for this purpose, now?

use crate::{
    InvalidIdentifier, MethodPath, SubsystemId,
    refusal::{Reason, Refusal},
    wire::evidence,
};

/// The gRPC services of reflection, allowed to whoever holds any right on the subsystem.
pub const REFLECTION_SERVICES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The most methods that one right may name.
pub const METHODS_LIMIT: usize = 256;

/// The most purposes that one right may name.
pub const PURPOSES_LIMIT: usize = 64;

/// The most that one method or purpose of a right may measure, in bytes.
pub const NAME_LIMIT: usize = 512;

/// The most of the names of a right that a refusal repeats, in bytes.
const REPEATED_LIMIT: usize = 1024;

/// One right, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRight {
    /// Who may call.
    pub client: SubsystemId,
    /// The subsystem and gRPC service that may be called.
    pub service: SubsystemId,
    /// See `service`.
    pub grpc_service: String,
    /// The methods; none means all.
    pub methods: Vec<String>,
    /// The purposes, one of which the caller must state; none means that none is asked for.
    pub purposes: Vec<String>,
    /// Seconds since 1970 (UTC), inclusive.
    pub valid_from: Option<i64>,
    /// Seconds since 1970 (UTC), exclusive.
    pub valid_until: Option<i64>,
}

impl TryFrom<&evidence::AccessRight> for AccessRight {
    type Error = InvalidIdentifier;

    fn try_from(wire: &evidence::AccessRight) -> Result<Self, InvalidIdentifier> {
        if wire.methods.len() > METHODS_LIMIT {
            let given = format!("{} methods", wire.methods.len());
            return Err(InvalidIdentifier::new(
                &given,
                "at most 256 methods in one right",
            ));
        }
        if wire.purposes.len() > PURPOSES_LIMIT {
            let given = format!("{} purposes", wire.purposes.len());
            return Err(InvalidIdentifier::new(
                &given,
                "at most 64 purposes in one right",
            ));
        }
        let too_long = |name: &&String| name.len() > NAME_LIMIT;
        if let Some(name) = wire.methods.iter().chain(&wire.purposes).find(too_long) {
            return Err(InvalidIdentifier::new(
                name,
                "a method or purpose of at most 512 bytes",
            ));
        }
        for method in &wire.methods {
            MethodPath::new(&wire.grpc_service, method)?;
        }
        let named = MethodPath::new(&wire.grpc_service, "Method")?;
        Ok(Self {
            client: wire.client.parse()?,
            service: wire.service.parse()?,
            grpc_service: named.service().to_owned(),
            methods: wire.methods.clone(),
            purposes: wire.purposes.clone(),
            valid_from: wire.valid_from,
            valid_until: wire.valid_until,
        })
    }
}

/// The question, all of it from a verified header and a clock.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub client: &'a SubsystemId,
    /// The subsystem asked.
    pub service: &'a SubsystemId,
    /// The method called.
    pub method: &'a MethodPath,
    /// The stated purpose; empty: none.
    pub purpose: &'a str,
    /// Seconds since 1970 (UTC).
    pub at: i64,
}

/// Decides: the first right that allows the call, or the most helpful refusal.
///
/// `rights` are those of this client on this subsystem, in any order; others are passed over. What
/// is not allowed is refused.
///
/// # Errors
/// `AccessDenied`, or the closest miss: `MethodNotAllowed`, `PurposeNotAllowed`,
/// `RightNotYetValid`, `RightExpired`.
pub fn decide<'r, Key: Copy>(
    rights: impl Iterator<Item = (Key, &'r AccessRight)>,
    question: &Question<'_>,
) -> Result<Key, Refusal> {
    let mut closest: Option<(Miss, &AccessRight)> = None;
    for (key, right) in rights {
        match examine(right, question) {
            Ok(()) => return Ok(key),
            Err(miss) if closest.is_none_or(|(other, _)| miss > other) => {
                closest = Some((miss, right));
            }
            Err(_) => {}
        }
    }
    Err(match closest {
        Some((miss, right)) => miss.refusal(right, question),
        None => denied(question),
    })
}

/// How near a right came to allowing the call, farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Miss {
    /// It is of another client, subsystem or gRPC service.
    Unrelated,
    /// It does not name the method.
    Method,
    /// It has ended.
    Expired,
    /// It has not begun.
    NotYetValid,
    /// It asks for a purpose that was not stated.
    Purpose,
}

/// Whether one right allows the call.
///
/// # Errors
/// By how much it does not.
pub fn examine(right: &AccessRight, question: &Question<'_>) -> Result<(), Miss> {
    if right.client != *question.client || right.service != *question.service {
        return Err(Miss::Unrelated);
    }
    let reflection = REFLECTION_SERVICES.contains(&question.method.service());
    if !reflection {
        if right.grpc_service != question.method.service() {
            return Err(Miss::Unrelated);
        }
        let method = question.method.method();
        if !right.methods.is_empty() && !right.methods.iter().any(|named| named == method) {
            return Err(Miss::Method);
        }
    }
    if right.valid_until.is_some_and(|until| question.at >= until) {
        return Err(Miss::Expired);
    }
    if right.valid_from.is_some_and(|from| question.at < from) {
        return Err(Miss::NotYetValid);
    }
    let stated = right
        .purposes
        .iter()
        .any(|purpose| purpose == question.purpose);
    if !reflection && !right.purposes.is_empty() && !stated {
        return Err(Miss::Purpose);
    }
    Ok(())
}

impl Miss {
    /// The refusal that says so.
    #[must_use]
    pub fn refusal(self, right: &AccessRight, question: &Question<'_>) -> Refusal {
        let call = format!("{}{}", question.service, question.method);
        let client = question.client;
        match self {
            Self::Unrelated => denied(question),
            Self::Method => Refusal::new(
                Reason::MethodNotAllowed,
                format!(
                    "the right of {client} covers only {}, not {call}",
                    listed(&right.methods)
                ),
            ),
            Self::Expired => Refusal::new(
                Reason::RightExpired,
                format!(
                    "the right of {client} to call {call} ended {}",
                    date(right.valid_until)
                ),
            ),
            Self::NotYetValid => Refusal::new(
                Reason::RightNotYetValid,
                format!(
                    "the right of {client} to call {call} begins {}",
                    date(right.valid_from)
                ),
            ),
            Self::Purpose => Refusal::new(
                Reason::PurposeNotAllowed,
                format!(
                    "{client} may call {call} for {} and stated {}",
                    listed(&right.purposes),
                    if question.purpose.is_empty() {
                        "no purpose"
                    } else {
                        "another purpose"
                    },
                ),
            ),
        }
    }
}

fn denied(question: &Question<'_>) -> Refusal {
    let Question {
        client,
        service,
        method,
        ..
    } = question;
    Refusal::new(
        Reason::AccessDenied,
        format!("{client} has no right to call {service}{method}"),
    )
}

/// The names, as many as a refusal has room for.
fn listed(names: &[String]) -> String {
    let mut room = REPEATED_LIMIT;
    let fits = |name: &&String| {
        let rest = room.checked_sub(name.len() + 2);
        room = rest.unwrap_or(0);
        rest.is_some()
    };
    let shown: Vec<&str> = names.iter().take_while(fits).map(String::as_str).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn date(seconds: Option<i64>) -> String {
    seconds
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "at an unknown time".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right() -> AccessRight {
        AccessRight {
            client: "VN/GOV/A/desk".parse().unwrap(),
            service: "VN/GOV/B/population".parse().unwrap(),
            grpc_service: "p.v1.Population".into(),
            methods: vec!["LookUp".into()],
            purposes: vec!["birth".into()],
            valid_from: Some(100),
            valid_until: Some(200),
        }
    }

    fn ask(rights: &[AccessRight], path: &str, purpose: &str, at: i64) -> Result<usize, Reason> {
        let client = "VN/GOV/A/desk".parse().unwrap();
        let service = "VN/GOV/B/population".parse().unwrap();
        let method = MethodPath::parse(path).unwrap();
        let question = Question {
            client: &client,
            service: &service,
            method: &method,
            purpose,
            at,
        };
        decide(rights.iter().enumerate(), &question).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn nothing_is_allowed_without_a_right() {
        assert_eq!(
            ask(&[], "/p.v1.Population/LookUp", "birth", 150),
            Err(Reason::AccessDenied)
        );
    }

    #[test]
    fn each_condition_of_a_right_is_asked() {
        let call = "/p.v1.Population/LookUp";
        let rights = [right()];
        assert_eq!(ask(&rights, call, "birth", 150), Ok(0));
        assert_eq!(ask(&rights, call, "birth", 100), Ok(0));
        assert_eq!(
            ask(&rights, call, "birth", 99),
            Err(Reason::RightNotYetValid)
        );
        assert_eq!(ask(&rights, call, "birth", 200), Err(Reason::RightExpired));
        assert_eq!(
            ask(&rights, call, "tax", 150),
            Err(Reason::PurposeNotAllowed)
        );
        assert_eq!(ask(&rights, call, "", 150), Err(Reason::PurposeNotAllowed));
        let other = "/p.v1.Population/Delete";
        assert_eq!(
            ask(&rights, other, "birth", 150),
            Err(Reason::MethodNotAllowed)
        );
        let foreign = "/p.v1.Other/LookUp";
        assert_eq!(
            ask(&rights, foreign, "birth", 150),
            Err(Reason::AccessDenied)
        );
    }

    #[test]
    fn a_second_right_can_allow_what_the_first_does_not() {
        let mut open = right();
        open.methods.clear();
        open.purposes.clear();
        let rights = [right(), open];
        assert_eq!(ask(&rights, "/p.v1.Population/Any", "", 150), Ok(1));
    }

    #[test]
    fn reflection_needs_some_valid_right_on_the_subsystem() {
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(ask(&[right()], path, "", 150), Ok(0));
        assert_eq!(ask(&[right()], path, "", 250), Err(Reason::RightExpired));
        assert_eq!(ask(&[], path, "", 150), Err(Reason::AccessDenied));
    }
}
