//! The header of a message, parsed once into types and encoded once by its maker.

use bytes::Bytes;
use prost::Message;

use crate::{
    Digest, ExchangeId, InstanceId, MethodPath, ServerId, SubsystemId,
    refusal::{Reason, Refusal, Side, is_code_of},
    wire::evidence::{self, MessageHeader},
};

/// The most an encoded header may measure.
pub const HEADER_LIMIT: usize = 16 * 1024;

/// The most one text of the caller (purpose, user, ...) may measure, in bytes.
pub const TEXT_LIMIT: usize = 1024;

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From consumer to provider.
    Request,
    /// From provider to consumer.
    Reply,
}

impl Direction {
    /// The word used in file names and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Reply => "reply",
        }
    }
}

/// What both directions of an exchange have in common, fixed by its first request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// The instance of the bus.
    pub instance: InstanceId,
    /// The exchange.
    pub exchange: ExchangeId,
    /// The subsystem that asks.
    pub client: SubsystemId,
    /// The subsystem that answers.
    pub service: SubsystemId,
    /// The gRPC service and method called there.
    pub method: MethodPath,
    /// The security server of the client.
    pub consumer: ServerId,
    /// The security server of the service.
    pub provider: ServerId,
}

/// What the caller says of itself and its reasons; empty texts were not given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statements {
    /// `x-road-id`: the caller's own name for the call.
    pub request_id: String,
    /// `x-road-userid`.
    pub user: String,
    /// `x-road-issue`: the case number.
    pub case_number: String,
    /// `x-road-represented-party`.
    pub represented_party: String,
    /// `x-road-purpose`.
    pub purpose: String,
    /// `x-road-legal-basis`.
    pub legal_basis: String,
}

/// What a reply says of the requests it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Digest of the exchange's first request.
    pub first_request: Digest,
    /// Sequence number of the newest request that the provider had recorded.
    pub newest_sequence: u64,
    /// Digest of that request.
    pub newest_request: Digest,
}

/// A parsed header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Who speaks with whom about what.
    pub parties: Parties,
    /// Request or reply.
    pub direction: Direction,
    /// Position in this direction, from 0.
    pub sequence: u64,
    /// Whether this is the last message of its direction.
    pub is_final: bool,
    /// Stable code when this is a refusal.
    pub refusal_code: Option<String>,
    /// Serial of the configuration the sender used.
    pub configuration_serial: u64,
    /// Seconds since 1970 (UTC): a claim.
    pub created_at: i64,
    /// Milliseconds that were left of the caller's deadline.
    pub deadline_milliseconds: Option<u64>,
    /// The caller's statements; only the first request has them.
    pub statements: Statements,
    /// Digest of the previous message of this direction; none at sequence 0.
    pub previous: Option<Digest>,
    /// What a reply answers; in replies and only there.
    pub answers: Option<Answers>,
    /// gRPC status code; in the final reply and only there.
    pub status_code: Option<u32>,
    /// The provider's promise, if it gave one.
    pub promise: Option<evidence::Promise>,
    /// SHA-256 of the encoded content.
    pub content_digest: Digest,
}

impl Header {
    /// The server that sends this message.
    #[must_use]
    pub const fn sending_server(&self) -> &ServerId {
        match self.direction {
            Direction::Request => &self.parties.consumer,
            Direction::Reply => &self.parties.provider,
        }
    }

    /// The server that this message is for.
    #[must_use]
    pub const fn receiving_server(&self) -> &ServerId {
        match self.direction {
            Direction::Request => &self.parties.provider,
            Direction::Reply => &self.parties.consumer,
        }
    }

    /// The subsystem that speaks: the client in a request, the service in a reply.
    #[must_use]
    pub const fn speaker(&self) -> &SubsystemId {
        match self.direction {
            Direction::Request => &self.parties.client,
            Direction::Reply => &self.parties.service,
        }
    }

    /// Encodes a header that this server makes; the only place where a header is encoded.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let statements = self.statements.clone();
        let answers = self.answers.as_ref();
        MessageHeader {
            instance: self.parties.instance.to_string(),
            exchange_id: Bytes::copy_from_slice(self.parties.exchange.as_bytes()),
            direction: match self.direction {
                Direction::Request => evidence::Direction::Request.into(),
                Direction::Reply => evidence::Direction::Reply.into(),
            },
            sequence: self.sequence,
            r#final: self.is_final,
            refusal_code: self.refusal_code.clone().unwrap_or_default(),
            sending_server: self.sending_server().to_string(),
            receiving_server: self.receiving_server().to_string(),
            client: self.parties.client.to_string(),
            service: self.parties.service.to_string(),
            grpc_service: self.parties.method.service().to_owned(),
            method: self.parties.method.method().to_owned(),
            configuration_serial: self.configuration_serial,
            created_at: self.created_at,
            deadline_milliseconds: self.deadline_milliseconds,
            request_id: statements.request_id,
            user: statements.user,
            case_number: statements.case_number,
            represented_party: statements.represented_party,
            purpose: statements.purpose,
            legal_basis: statements.legal_basis,
            previous_digest: self.previous.map(Digest::to_bytes).unwrap_or_default(),
            first_request_digest: answers
                .map(|a| a.first_request.to_bytes())
                .unwrap_or_default(),
            newest_request_sequence: answers.map_or(0, |a| a.newest_sequence),
            newest_request_digest: answers
                .map(|a| a.newest_request.to_bytes())
                .unwrap_or_default(),
            status_code: self.status_code,
            promise: self.promise.clone(),
            content_digest: self.content_digest.to_bytes(),
        }
        .encode_to_vec()
        .into()
    }

    /// Parses a header and checks everything that can be said without looking at anything else.
    ///
    /// # Errors
    /// `MalformedEnvelope` naming the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > HEADER_LIMIT {
            return Err(malformed(format!(
                "it has {} bytes, more than {HEADER_LIMIT}",
                bytes.len()
            )));
        }
        let wire = MessageHeader::decode(bytes).map_err(|error| malformed(error.to_string()))?;
        let direction = match wire.direction() {
            evidence::Direction::Request => Direction::Request,
            evidence::Direction::Reply => Direction::Reply,
            evidence::Direction::Unspecified => return Err(malformed("it has no direction")),
        };
        let header = Self {
            parties: parse_parties(&wire, direction)?,
            direction,
            sequence: wire.sequence,
            is_final: wire.r#final,
            refusal_code: Some(wire.refusal_code).filter(|code| !code.is_empty()),
            configuration_serial: wire.configuration_serial,
            created_at: wire.created_at,
            deadline_milliseconds: wire.deadline_milliseconds,
            statements: Statements {
                request_id: wire.request_id,
                user: wire.user,
                case_number: wire.case_number,
                represented_party: wire.represented_party,
                purpose: wire.purpose,
                legal_basis: wire.legal_basis,
            },
            previous: optional_digest(&wire.previous_digest, "previous_digest")?,
            answers: parse_answers(
                &wire.first_request_digest,
                wire.newest_request_sequence,
                &wire.newest_request_digest,
            )?,
            status_code: wire.status_code,
            promise: wire.promise,
            content_digest: Digest::from_slice(&wire.content_digest)
                .ok_or_else(|| malformed("content_digest is not 32 bytes"))?,
        };
        header.check_consistency()?;
        Ok(header)
    }

    fn check_consistency(&self) -> Result<(), Refusal> {
        let is_reply = self.direction == Direction::Reply;
        let is_refusal = self.refusal_code.is_some();
        if (self.sequence == 0) != self.previous.is_none() {
            return Err(malformed(
                "previous_digest must be absent at sequence 0 and only there",
            ));
        }
        if !is_reply && (self.answers.is_some() || self.promise.is_some() || is_refusal) {
            return Err(malformed("a request has a field that only replies have"));
        }
        if is_reply && self.answers.is_none() {
            return Err(malformed(
                "a reply does not name the request that it answers",
            ));
        }
        if self.status_code.is_some() != (is_reply && self.is_final) {
            return Err(malformed(
                "status_code must be in the final reply and only there",
            ));
        }
        if is_refusal && (!self.is_final || self.status_code == Some(0)) {
            return Err(malformed("a refusal must be final and must not say OK"));
        }
        if self
            .refusal_code
            .as_deref()
            .is_some_and(|code| !is_code_of(code, Side::Provider))
        {
            return Err(malformed(
                "the refusal code is not of the form provider.reason",
            ));
        }
        let first_request = !is_reply && self.sequence == 0;
        if !first_request && self.statements != Statements::default() {
            return Err(malformed(
                "only the first request carries the caller's statements",
            ));
        }
        let texts = &self.statements;
        for text in [
            &texts.request_id,
            &texts.user,
            &texts.case_number,
            &texts.represented_party,
            &texts.purpose,
            &texts.legal_basis,
        ] {
            if text.len() > TEXT_LIMIT {
                return Err(malformed(format!(
                    "a text is longer than {TEXT_LIMIT} bytes"
                )));
            }
        }
        Ok(())
    }
}

fn parse_parties(wire: &MessageHeader, direction: Direction) -> Result<Parties, Refusal> {
    let identifier = |error: crate::InvalidIdentifier| malformed(error.to_string());
    let sending: ServerId = wire.sending_server.parse().map_err(identifier)?;
    let receiving: ServerId = wire.receiving_server.parse().map_err(identifier)?;
    let (consumer, provider) = match direction {
        Direction::Request => (sending, receiving),
        Direction::Reply => (receiving, sending),
    };
    let parties = Parties {
        instance: wire.instance.parse().map_err(identifier)?,
        exchange: ExchangeId::from_slice(&wire.exchange_id)
            .ok_or_else(|| malformed("exchange_id is not a UUID of version 7"))?,
        client: wire.client.parse().map_err(identifier)?,
        service: wire.service.parse().map_err(identifier)?,
        method: MethodPath::new(&wire.grpc_service, &wire.method).map_err(identifier)?,
        consumer,
        provider,
    };
    let instance = parties.instance.as_str();
    let named = [
        parties.client.instance(),
        parties.service.instance(),
        parties.consumer.instance(),
        parties.provider.instance(),
    ];
    if named.iter().any(|named| *named != instance) {
        return Err(Refusal::new(
            Reason::WrongInstance,
            format!("the header is of instance {instance} and names identifiers of another one"),
        ));
    }
    Ok(parties)
}

fn parse_answers(first: &[u8], sequence: u64, newest: &[u8]) -> Result<Option<Answers>, Refusal> {
    let first = optional_digest(first, "first_request_digest")?;
    let newest = optional_digest(newest, "newest_request_digest")?;
    match (first, newest) {
        (None, None) if sequence == 0 => Ok(None),
        (Some(first_request), Some(newest_request)) => Ok(Some(Answers {
            first_request,
            newest_sequence: sequence,
            newest_request,
        })),
        _ => Err(malformed(
            "it names only one of the first and the newest request",
        )),
    }
}

fn optional_digest(bytes: &[u8], field: &str) -> Result<Option<Digest>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let digest = Digest::from_slice(bytes);
    digest
        .map(Some)
        .ok_or_else(|| malformed(format!("{field} is not 32 bytes")))
}

fn malformed(what: impl Into<String>) -> Refusal {
    Refusal::new(
        Reason::MalformedEnvelope,
        format!("the header is malformed: {}", what.into()),
    )
}
