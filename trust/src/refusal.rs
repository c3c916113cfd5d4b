//! Refusals: expected, typed, somebody's fault, and said so that the caller knows what to do.

use std::fmt;

use crate::ServerId;

/// A decision not to go on, as the pure rules make it: no server has said it yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {explanation}", reason.name())]
pub struct Refusal {
    /// Which rule refused.
    pub reason: Reason,
    /// One sentence for the caller: what was seen, with identifiers and never with payload.
    pub explanation: String,
}

impl Refusal {
    /// A refusal for `reason`, explained in one sentence.
    pub fn new(reason: Reason, explanation: impl Into<String>) -> Self {
        Self {
            reason,
            explanation: explanation.into(),
        }
    }

    /// The refusal as said by `server`, acting as `side` of the exchange.
    #[must_use]
    pub fn said_by(self, side: Side, server: ServerId) -> Statement {
        Statement {
            refusal: self,
            side,
            server,
        }
    }
}

/// A refusal and the security server that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What was decided.
    pub refusal: Refusal,
    /// The role of the server in this exchange.
    pub side: Side,
    /// The server that speaks.
    pub server: ServerId,
}

impl Statement {
    /// The stable code, e.g. `provider.access_denied`: the side that spoke and the reason.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{}.{}", self.side.name(), self.refusal.reason.name())
    }

    /// The gRPC status code. What the provider's server did wrong is not the calling system's doing:
    /// said by the consumer's server it is INTERNAL, whatever the reason.
    #[must_use]
    pub const fn status(&self) -> u32 {
        match self.side {
            Side::Consumer if self.refusal.reason.blames_peer() => status::INTERNAL,
            Side::Consumer | Side::Provider => self.refusal.reason.status(),
        }
    }

    /// Who has to change something.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        blame(self.refusal.reason, self.side)
    }
}

/// Whether a text has the form of a code that a peer acting as `side` may say. Codes of later
/// versions have it, texts that are no code do not: a code is passed on to the caller.
#[must_use]
pub fn is_code_of(code: &str, side: Side) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    code.strip_prefix(side.name())
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|reason| (1..=64).contains(&reason.len()) && reason.bytes().all(allowed))
}

/// The reason that a code names which a peer acting as `side` has said; none for a code that this
/// version does not know.
#[must_use]
pub fn reason_of(code: &str, side: Side) -> Option<Reason> {
    let name = code.strip_prefix(side.name())?.strip_prefix('.')?;
    let mut reasons = Reason::ALL.iter();
    reasons.find(|reason| reason.name() == name).copied()
}

/// Who is at fault according to such a code.
#[must_use]
pub fn fault_of(code: &str, side: Side) -> Option<Fault> {
    reason_of(code, side).map(|reason| blame(reason, side))
}

const fn blame(reason: Reason, side: Side) -> Fault {
    match (reason.blamed(), side) {
        (Blamed::Client, _) => Fault::Client,
        (Blamed::Speaker, Side::Consumer) | (Blamed::Peer, Side::Provider) => Fault::Consumer,
        (Blamed::Speaker, Side::Provider) | (Blamed::Peer, Side::Consumer) => Fault::Provider,
        (Blamed::Adapter, _) => Fault::Adapter,
        (Blamed::Configuration, _) => Fault::Configuration,
        (Blamed::Network, _) => Fault::Network,
    }
}

impl fmt::Display for Statement {
    /// The whole message a caller gets: what happened, who is at fault, who says so, what to do.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} (fault of the {}; said by the {}'s security server {}). What to do: {}",
            self.refusal.explanation,
            self.fault().name(),
            self.side.name(),
            self.server,
            self.refusal.reason.remedy(),
        )
    }
}

/// The role of a security server in one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Sends the request on behalf of its client.
    Consumer,
    /// Answers for its service.
    Provider,
}

impl Side {
    /// The word used in codes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Provider => "provider",
        }
    }

    /// The side of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let sides = [Self::Consumer, Self::Provider];
        sides.into_iter().find(|side| side.name() == name)
    }
}

/// Who has to change something before the same call can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The calling system.
    Client,
    /// The consumer's security server or its operator.
    Consumer,
    /// The provider's security server or its operator.
    Provider,
    /// The provider's adapter, or the system behind it.
    Adapter,
    /// The global configuration and the authority that governs it.
    Configuration,
    /// The way between the two servers.
    Network,
}

impl Fault {
    /// The word used in messages and trailers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Consumer => "consumer",
            Self::Provider => "provider",
            Self::Adapter => "adapter",
            Self::Configuration => "configuration",
            Self::Network => "network",
        }
    }
}

/// Whom a reason blames, seen from the server that speaks.
#[derive(Clone, Copy)]
enum Blamed {
    Client,
    Speaker,
    Peer,
    Adapter,
    Configuration,
    Network,
}

/// The gRPC status codes that refusals use (numbers of google.rpc.Code).
pub mod status {
    /// The call was cancelled.
    pub const CANCELLED: u32 = 1;
    /// The call cannot be understood.
    pub const INVALID_ARGUMENT: u32 = 3;
    /// The deadline passed.
    pub const DEADLINE_EXCEEDED: u32 = 4;
    /// No such service.
    pub const NOT_FOUND: u32 = 5;
    /// Repeated.
    pub const ALREADY_EXISTS: u32 = 6;
    /// Not allowed.
    pub const PERMISSION_DENIED: u32 = 7;
    /// Too much.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// Somebody must change something first.
    pub const FAILED_PRECONDITION: u32 = 9;
    /// A server broke a promise of the protocol.
    pub const INTERNAL: u32 = 13;
    /// Try again later.
    pub const UNAVAILABLE: u32 = 14;
    /// Evidence was damaged on its way.
    pub const DATA_LOSS: u32 = 15;
    /// The caller did not prove who it is.
    pub const UNAUTHENTICATED: u32 = 16;
}

/// Declares the reasons in one table: name on the wire, gRPC status, whom it blames, what to do.
macro_rules! reasons {
    ($($variant:ident $name:literal $status:ident $blamed:ident $remedy:literal;)+) => {
        /// Why a message or call was refused. The table is printed in `docs/protocol.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $remedy] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The second half of the stable code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The gRPC status code.
            #[must_use]
            pub const fn status(self) -> u32 {
                match self { $(Self::$variant => status::$status,)+ }
            }

            /// What the reader of the refusal should do.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }

            /// Whether it is the peer's message that is not acceptable: what cannot be verified is
            /// refused without a signature.
            #[must_use]
            pub const fn blames_peer(self) -> bool {
                matches!(self.blamed(), Blamed::Peer)
            }

            const fn blamed(self) -> Blamed {
                match self { $(Self::$variant => Blamed::$blamed,)+ }
            }
        }
    };
}

reasons! {
    // The call as the client made it.
    InvalidMetadata "invalid_metadata" INVALID_ARGUMENT Client "correct the x-road-* metadata of the call as docs/protocol.md describes.";
    InvalidPath "invalid_path" INVALID_ARGUMENT Client "call a path of the form /package.Service/Method.";
    NotIdentified "not_identified" UNAUTHENTICATED Client "present the client certificate that the operator of this security server registered for your subsystem.";
    ForeignSubsystem "foreign_subsystem" PERMISSION_DENIED Client "name your own subsystem in x-road-client, or use the certificate or listener of the subsystem you name.";
    UnknownClient "unknown_client" PERMISSION_DENIED Client "check x-road-client, and that you call your own agency's security server.";
    UnknownService "unknown_service" NOT_FOUND Client "check x-road-service and the path against the list of services in the global configuration.";
    MalformedMessage "malformed_message" INVALID_ARGUMENT Client "send complete gRPC messages.";
    MessageTooLarge "message_too_large" RESOURCE_EXHAUSTED Client "send smaller messages, or ask the operator for a higher limit.";
    DeadlineExceeded "deadline_exceeded" DEADLINE_EXCEEDED Client "allow more time, or ask the provider why it is slow; the call may have been carried out.";
    Cancelled "cancelled" CANCELLED Client "nothing, if you cancelled the call; it may have been carried out.";
    TooManyRefusals "too_many_refusals" RESOURCE_EXHAUSTED Client "pause; too many of your calls were refused in the last minute.";

    // A security server that cannot serve now.
    Busy "busy" RESOURCE_EXHAUSTED Speaker "try again after a pause.";
    LogUnavailable "log_unavailable" UNAVAILABLE Speaker "try again later; its operator must look at the message log.";
    NoConfiguration "no_configuration" UNAVAILABLE Speaker "try again later; its operator must see why no valid global configuration arrives.";
    ClockBehind "clock_behind" UNAVAILABLE Speaker "its operator must correct the clock, or accept it with accept-clock.";
    ClockSet "clock_set" UNAVAILABLE Speaker "try again; its clock was set while it made a message.";
    NoSigningKey "no_signing_key" FAILED_PRECONDITION Speaker "its operator must install a signing key and certificate for the member.";
    SubsystemDisabled "subsystem_disabled" UNAVAILABLE Speaker "ask its operator when the subsystem is enabled again.";
    ShuttingDown "shutting_down" UNAVAILABLE Speaker "try again; if the exchange had begun, find out with its id whether it was carried out.";

    // The peer's message.
    MalformedEnvelope "malformed_envelope" INVALID_ARGUMENT Peer "its operator must find out why it sends messages that are not of this protocol.";
    UnknownServer "unknown_server" PERMISSION_DENIED Peer "register the security server and its authentication certificate in the central registry.";
    WrongServer "wrong_server" PERMISSION_DENIED Peer "the header must name the two servers that hold the connection.";
    WrongInstance "wrong_instance" INVALID_ARGUMENT Peer "use the identifiers of this instance.";
    NotRegisteredAtServer "not_registered_at_server" PERMISSION_DENIED Peer "register the subsystem at that security server in the central registry, or enable it.";
    UnknownCertificate "unknown_certificate" UNAUTHENTICATED Peer "its server must send the signing certificate before the envelope.";
    InvalidCertificate "invalid_certificate" UNAUTHENTICATED Peer "have a signing certificate issued by an authority that the configuration approves.";
    ExpiredCertificate "expired_certificate" UNAUTHENTICATED Peer "have the signing certificate renewed.";
    WrongMember "wrong_member" PERMISSION_DENIED Peer "sign with the key of the member that owns the subsystem.";
    InvalidSignature "invalid_signature" UNAUTHENTICATED Peer "treat the message as altered on its way, or its server as faulty.";
    StaleMessage "stale_message" FAILED_PRECONDITION Peer "set the clocks of both security servers; they may differ by five minutes at most.";
    Replayed "replayed" ALREADY_EXISTS Peer "start a new exchange; this one was already recorded.";
    OutOfSequence "out_of_sequence" FAILED_PRECONDITION Peer "start a new exchange; its messages must arrive once, in order.";
    BrokenChain "broken_chain" DATA_LOSS Peer "start a new exchange; a message does not follow from the one before it.";
    DifferentExchange "different_exchange" DATA_LOSS Peer "treat the answer as not given; it belongs to another exchange or request.";
    NoPromise "no_promise" DATA_LOSS Peer "treat the answer as not given; its server does not promise to keep the request in its log.";
    ContentMismatch "content_mismatch" DATA_LOSS Peer "treat the message as altered on its way.";

    // The decision about the call.
    AccessDenied "access_denied" PERMISSION_DENIED Client "ask the provider's agency for an access right to this service.";
    MethodNotAllowed "method_not_allowed" PERMISSION_DENIED Client "ask the provider's agency to add this method to your access right.";
    RightExpired "right_expired" PERMISSION_DENIED Client "ask the provider's agency to renew your access right.";
    RightNotYetValid "right_not_yet_valid" PERMISSION_DENIED Client "wait until the access right begins.";
    PurposeNotAllowed "purpose_not_allowed" PERMISSION_DENIED Client "state in x-road-purpose one of the purposes that your access right names.";

    // The way there, and the system behind it.
    PeerUnreachable "peer_unreachable" UNAVAILABLE Network "try again; if it stays so, both operators must check the network between the servers.";
    PeerLost "peer_lost" UNAVAILABLE Network "find out with the exchange id whether the call was carried out before you repeat it.";
    AdapterUnreachable "adapter_unreachable" UNAVAILABLE Adapter "try again; if it stays so, the provider's operator must look at the adapter.";
    AdapterFailed "adapter_failed" INTERNAL Adapter "the provider's operator must look at the adapter; the call may have been carried out.";
    InvalidConfiguration "invalid_configuration" UNAVAILABLE Configuration "the governing authority must see why its published files do not verify.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_a_remedy_that_is_a_sentence() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        assert!(
            Reason::ALL
                .iter()
                .all(|reason| reason.remedy().ends_with('.'))
        );
    }

    #[test]
    fn the_blame_follows_the_side_that_speaks() {
        let server: ServerId = "VN/GOV/G01/server-1".parse().unwrap();
        let refusal = Refusal::new(Reason::InvalidSignature, "the signature does not verify");
        let by_provider = refusal.clone().said_by(Side::Provider, server.clone());
        assert_eq!(by_provider.code(), "provider.invalid_signature");
        assert_eq!(by_provider.fault(), Fault::Consumer);
        let by_consumer = refusal.said_by(Side::Consumer, server);
        assert_eq!(by_consumer.fault(), Fault::Provider);
        assert_eq!(by_provider.status(), status::UNAUTHENTICATED);
        assert_eq!(by_consumer.status(), status::INTERNAL);
        assert!(
            by_consumer
                .to_string()
                .contains("consumer's security server VN/GOV/G01/server-1")
        );
    }
}
