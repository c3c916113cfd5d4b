//! One record, readably: what stands in it, as a tree for people and as JSON for machines.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};
use trust::{
    Digest,
    header::{Direction, Header},
    wire::evidence::{
        Annex, Change, ClockAccepted, Closing, Erased, Membership, MessageContent, Metadata,
        PeerCheckpoint, RecordKind, RefusedAction, SecurityEvent, Torn, change,
    },
};
use verifiable_log::RawRecord;

use crate::{listing::status_name, messages::kept_message, outline::Outline, times::in_utc};

/// Bytes that nobody can read are shown up to this length.
const BYTES_SHOWN: usize = 256;

/// How messages are decoded.
#[derive(Debug, Default)]
pub struct Descriptors {
    pool: DescriptorPool,
}

impl Descriptors {
    /// Adds the services of an encoded `FileDescriptorSet`, as `protoc --include_imports
    /// --descriptor_set_out` writes it.
    ///
    /// # Errors
    /// In words, when it is none or contradicts what is known.
    pub fn add(&mut self, encoded: &[u8]) -> Result<(), String> {
        self.pool
            .decode_file_descriptor_set(encoded)
            .map_err(|error| error.to_string())
    }

    fn method(&self, header: &Header) -> Option<MethodDescriptor> {
        let path = &header.parties.method;
        let service = self.pool.get_service_by_name(path.service())?;
        service
            .methods()
            .find(|method| method.name() == path.method())
    }
}

/// A record in the order in which it is read.
#[must_use]
pub fn record(record: &RawRecord, descriptors: &Descriptors) -> Outline {
    let kind = RecordKind::try_from(i32::from(record.kept.kind));
    let kind = kind.unwrap_or(RecordKind::Unspecified);
    let mut shown = Outline::of([
        ("record", Some(json!(record.index))),
        ("kind", Some(json!(kind_name(kind)))),
    ]);
    let body = &record.kept.header;
    if kind == RecordKind::Message {
        match Header::parse(body) {
            Ok(header) => {
                shown.add("header", of_header(&header));
                shown.add("signature", of_signature(record));
                shown.add("content", of_content(record, &header, descriptors));
            }
            Err(refusal) => shown.add("unreadable", json!(refusal.explanation)),
        }
    } else {
        shown.add("says", local_body(kind, body));
    }
    shown.add("annex", of_annex(&record.kept.annex));
    shown
}

fn of_header(header: &Header) -> Outline {
    let (parties, statements) = (&header.parties, &header.statements);
    Outline::of([
        ("exchange", Some(json!(parties.exchange.to_string()))),
        ("direction", Some(json!(header.direction.name()))),
        ("sequence", Some(json!(header.sequence))),
        ("final", Some(json!(header.is_final))),
        ("from", Some(json!(header.sending_server().to_string()))),
        ("to", Some(json!(header.receiving_server().to_string()))),
        ("client", Some(json!(parties.client.to_string()))),
        ("service", Some(json!(parties.service.to_string()))),
        ("method", Some(json!(parties.method.to_string()))),
        (
            "created_at",
            Some(json!(in_utc(header.created_at.saturating_mul(1000)))),
        ),
        ("configuration", Some(json!(header.configuration_serial))),
        ("refusal", header.refusal_code.clone().map(Value::String)),
        (
            "status",
            header
                .status_code
                .map(|code| json!(status_name(Some(code)))),
        ),
        (
            "deadline_milliseconds",
            header.deadline_milliseconds.map(|it| json!(it)),
        ),
        ("x-road-id", text(&statements.request_id)),
        ("x-road-userid", text(&statements.user)),
        ("x-road-issue", text(&statements.case_number)),
        (
            "x-road-represented-party",
            text(&statements.represented_party),
        ),
        ("x-road-purpose", text(&statements.purpose)),
        ("x-road-legal-basis", text(&statements.legal_basis)),
        ("previous", header.previous.map(|it| json!(it.to_string()))),
        (
            "answers",
            header.answers.as_ref().map(|answers| {
                json!({
                    "first_request": answers.first_request.to_string(),
                    "newest_sequence": answers.newest_sequence,
                    "newest_request": answers.newest_request.to_string(),
                })
            }),
        ),
        (
            "content_digest",
            Some(json!(header.content_digest.to_string())),
        ),
    ])
}

fn of_signature(record: &RawRecord) -> Value {
    match kept_message(record) {
        Ok(kept) => {
            let digest = kept.digest();
            let root = kept.batch().and_then(|path| path.root(&digest).ok());
            let mut shown = json!({
                "message_digest": digest.to_string(),
                "certificate": kept.certificate_digest().to_string(),
            });
            if let Some(root) = root {
                shown["batch_root"] = json!(root.to_string());
            }
            shown
        }
        Err(problem) => json!({ "unreadable": problem }),
    }
}

fn of_content(record: &RawRecord, header: &Header, descriptors: &Descriptors) -> Outline {
    if record.content.is_empty() {
        return json!("not kept").into();
    }
    if Digest::of(&record.content) != header.content_digest {
        let gone = json!(if record.content.iter().all(|byte| *byte == 0) {
            "destroyed"
        } else {
            "not the one that the header names"
        });
        return gone.into();
    }
    let content = match MessageContent::decode(record.content.clone()) {
        Ok(content) => content,
        Err(error) => return json!({ "unreadable": error.to_string() }).into(),
    };
    let message = content
        .message
        .as_ref()
        .map(|message| of_message(message, &content, header, descriptors));
    Outline::of([
        ("metadata", content.metadata.as_ref().and_then(of_metadata)),
        ("content_type", text(&content.content_type)),
        ("user_agent", text(&content.user_agent)),
        ("grpc_encoding", text(&content.grpc_encoding)),
        ("message", message),
        ("status_message", text(&content.status_message)),
        (
            "status_details",
            (!content.status_details.is_empty()).then(|| of_bytes(&content.status_details)),
        ),
        ("trailers", content.trailers.as_ref().and_then(of_metadata)),
    ])
}

/// The message, decoded where its type is known.
fn of_message(
    message: &Bytes,
    content: &MessageContent,
    header: &Header,
    descriptors: &Descriptors,
) -> Value {
    let length = message.len();
    if content.compressed {
        let how = &content.grpc_encoding;
        return json!({ "bytes": length, "compressed": how, "first": of_bytes(message) });
    }
    let Some(method) = descriptors.method(header) else {
        return json!({ "bytes": length, "first": of_bytes(message) });
    };
    let kind = match header.direction {
        Direction::Request => method.input(),
        Direction::Reply => method.output(),
    };
    let decoded = DynamicMessage::decode(kind.clone(), message.clone())
        .map_err(|error| error.to_string())
        .and_then(|message| serde_json::to_value(&message).map_err(|error| error.to_string()));
    match decoded {
        Ok(decoded) => json!({ "bytes": length, "type": kind.full_name(), "decoded": decoded }),
        Err(problem) => json!({
            "bytes": length,
            "type": kind.full_name(),
            "unreadable": problem,
            "first": of_bytes(message),
        }),
    }
}

fn of_metadata(metadata: &Metadata) -> Option<Value> {
    let entries = metadata.entries.iter().map(|entry| {
        let value = String::from_utf8_lossy(&entry.value);
        json!(format!("{}: {value}", entry.key))
    });
    (!metadata.entries.is_empty()).then(|| Value::Array(entries.collect()))
}

fn of_annex(encoded: &Bytes) -> Outline {
    let annex = match Annex::decode(encoded.clone()) {
        Ok(annex) => annex,
        Err(error) => return json!({ "unreadable": error.to_string() }).into(),
    };
    Outline::of([
        ("stage", Some(json!(stage_name(&annex)))),
        ("recorded_at", Some(json!(in_utc(annex.received_at)))),
        (
            "configuration",
            (annex.configuration_serial > 0).then(|| json!(annex.configuration_serial)),
        ),
        ("head", digest(&annex.head_digest)),
        ("certificate", digest(&annex.certificate_digest)),
        ("peer_certificate", digest(&annex.peer_certificate_digest)),
        ("decision", text(&annex.decision)),
        (
            "allowed_by_record",
            annex.access_right.map(|index| json!(index)),
        ),
        ("subjects", subjects(&annex.subject_hash)),
        ("subjects_unread", text(&annex.subjects_unread)),
        ("digest", Some(json!(Digest::of(encoded).to_string()))),
    ])
}

fn stage_name(annex: &Annex) -> &'static str {
    match annex.stage() {
        trust::wire::evidence::Stage::Sent => "sent",
        trust::wire::evidence::Stage::Received => "received",
        trust::wire::evidence::Stage::Local => "local",
        trust::wire::evidence::Stage::Unspecified => "not said",
    }
}

/// The body of a local record. Large bodies that only programs read are named by their digest.
fn local_body(kind: RecordKind, body: &Bytes) -> Value {
    let shown = match kind {
        RecordKind::Closing => Closing::decode(body.clone()).map(|it| of_closing(&it)),
        RecordKind::Security => SecurityEvent::decode(body.clone()).map(|event| {
            json!({
                "refusal": event.refusal_code,
                "reason": event.reason,
                "peer": event.peer,
                "exchange": exchange(&event.exchange_id),
                "count": event.count,
            })
        }),
        RecordKind::Change => Change::decode(body.clone()).map(|it| of_change(&it)),
        RecordKind::Membership => Membership::decode(body.clone()).map(|membership| {
            json!({
                "state_root": hex::encode(&membership.state_root),
                "key": membership.key,
                "value_bytes": membership.value.len(),
            })
        }),
        RecordKind::Torn => Torn::decode(body.clone()).map(|torn| {
            json!({
                "segment": torn.segment,
                "offset": torn.offset,
                "length": torn.length,
                "digest": hex::encode(&torn.digest),
            })
        }),
        RecordKind::Erased => Erased::decode(body.clone()).map(|erased| {
            json!({
                "first_record": erased.first_index,
                "last_record": erased.last_index,
                "reason": erased.reason,
            })
        }),
        RecordKind::Clock => ClockAccepted::decode(body.clone()).map(|accepted| {
            json!({
                "unix_user": accepted.unix_user,
                "clock": in_utc(accepted.clock.saturating_mul(1000)),
                "newest_record": in_utc(accepted.newest_record.saturating_mul(1000)),
            })
        }),
        RecordKind::PeerCheckpoint => PeerCheckpoint::decode(body.clone()).map(|given| {
            json!({
                "log": given.origin,
                "verdict": given.verdict,
                "promised": given.promised,
                "checkpoint": String::from_utf8_lossy(&given.checkpoint),
            })
        }),
        RecordKind::RefusedAction => RefusedAction::decode(body.clone()).map(|refused| {
            json!({
                "unix_user": refused.unix_user,
                "action": refused.action,
                "reason": refused.reason,
            })
        }),
        _ => Ok(json!({ "bytes": body.len(), "digest": Digest::of(body).to_string() })),
    };
    shown.unwrap_or_else(|error| json!({ "unreadable": error.to_string() }))
}

fn of_closing(closing: &Closing) -> Value {
    json!({
        "exchange": exchange(&closing.exchange_id),
        "side": closing.side,
        "outcome": closing.outcome,
        "reason": closing.reason,
        "last_request": closing.request_sequence,
        "last_reply": closing.reply_sequence,
    })
}

fn of_change(changed: &Change) -> Value {
    let key = match &changed.key {
        Some(change::Key::Subsystem(subsystem)) => format!("subsystem {subsystem}"),
        Some(change::Key::Service(key)) => {
            format!("service {}/{}", key.subsystem, key.grpc_service)
        }
        Some(change::Key::AccessRight(id)) => format!("access right {id}"),
        Some(change::Key::ClientCertificate(key)) => {
            format!("client certificate {}", hex::encode(&key.digest))
        }
        None => "nothing".to_owned(),
    };
    let value = match &changed.value {
        None => json!("removed"),
        Some(change::Value::LocalSubsystem(subsystem)) => json!({ "enabled": subsystem.enabled }),
        Some(change::Value::LocalService(service)) => json!({
            "adapter": service.adapter,
            "timeout_milliseconds": service.timeout_milliseconds,
        }),
        Some(change::Value::Right(right)) => json!({
            "client": right.client,
            "service": right.service,
            "grpc_service": right.grpc_service,
            "methods": right.methods,
            "purposes": right.purposes,
            "valid_from": right.valid_from.map(|at| in_utc(at.saturating_mul(1000))),
            "valid_until": right.valid_until.map(|at| in_utc(at.saturating_mul(1000))),
        }),
        Some(change::Value::Certificate(certificate)) => {
            json!({ "subsystem": certificate.subsystem })
        }
    };
    json!({ "unix_user": changed.unix_user, "key": key, "value": value })
}

const fn kind_name(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Message => "message",
        RecordKind::Closing => "closing",
        RecordKind::Security => "security",
        RecordKind::Change => "change",
        RecordKind::Certificate => "certificate",
        RecordKind::RootDocument => "root document",
        RecordKind::Head => "head of the configuration",
        RecordKind::Membership => "proof of membership",
        RecordKind::Torn => "cut tail",
        RecordKind::Erased => "content destroyed",
        RecordKind::Clock => "clock accepted",
        RecordKind::PeerCheckpoint => "checkpoint of another server",
        RecordKind::RefusedAction => "refused action",
        RecordKind::Entry => "entry of the registry",
        RecordKind::Unspecified => "unknown",
    }
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| json!(text))
}

fn subjects(hashes: &[Bytes]) -> Option<Value> {
    let shown = hashes.iter().map(|hash| json!(hex::encode(hash)));
    (!hashes.is_empty()).then(|| Value::Array(shown.collect()))
}

fn digest(bytes: &[u8]) -> Option<Value> {
    (!bytes.is_empty()).then(|| json!(hex::encode(bytes)))
}

fn exchange(bytes: &[u8]) -> Value {
    trust::ExchangeId::from_slice(bytes).map_or(Value::Null, |id| json!(id.to_string()))
}

/// Base64, cut where it gets long.
fn of_bytes(bytes: &[u8]) -> Value {
    match bytes.get(..BYTES_SHOWN) {
        Some(beginning) if bytes.len() > BYTES_SHOWN => {
            json!(format!("{}...", BASE64_STANDARD.encode(beginning)))
        }
        _ => json!(BASE64_STANDARD.encode(bytes)),
    }
}
