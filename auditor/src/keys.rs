//! The keys under which an index finds the records of exchanges.

use prost::Message;
use trust::{
    ExchangeId,
    header::{Direction, Header},
    wire::evidence::{Annex, Closing, RecordKind, SecurityEvent},
};
use verifiable_log::{Indexing, KeptPart, ViewKey};

use crate::audit::any_leaf_of;

/// By exchange id (16 bytes): every record of the exchange.
pub(crate) const EXCHANGE: u8 = 1;
/// By `x-road-id`: first requests.
pub(crate) const REQUEST_ID: u8 = 2;
/// By case number: first requests.
pub(crate) const CASE_NUMBER: u8 = 3;
/// By client subsystem: first requests.
pub(crate) const CLIENT: u8 = 4;
/// By the provider's subsystem: first requests.
pub(crate) const SERVICE: u8 = 5;
/// By the time of recording, 8 bytes, milliseconds since 1970 (UTC): first requests.
pub(crate) const TIME: u8 = 6;
/// By the keyed hash of a person: every message that names the person.
pub(crate) const SUBJECT: u8 = 7;
/// By nothing: every message of which it is not known whom it names.
pub(crate) const SUBJECTS_UNREAD: u8 = 8;

/// How message logs are indexed. A change of the keys asks for another version.
pub(crate) const INDEXING: Indexing = Indexing {
    leaf_of: any_leaf_of,
    keys_of,
    keys_version: 2,
};

/// The key of a time; sorts as the time does.
pub(crate) fn time_key(milliseconds: i64) -> [u8; 8] {
    u64::try_from(milliseconds).unwrap_or(0).to_be_bytes()
}

/// The exchange that a record is about; none of most local records.
pub(crate) fn exchange_of(kept: &KeptPart) -> Option<ExchangeId> {
    let body = kept.header.clone();
    let id = match RecordKind::try_from(i32::from(kept.kind)).ok()? {
        RecordKind::Message => return Some(Header::parse(&body).ok()?.parties.exchange),
        RecordKind::Closing => Closing::decode(body).ok()?.exchange_id,
        RecordKind::Security => SecurityEvent::decode(body).ok()?.exchange_id,
        _ => return None,
    };
    ExchangeId::from_slice(&id)
}

fn keys_of(kept: &KeptPart) -> Vec<ViewKey> {
    let Some(exchange) = exchange_of(kept) else {
        return Vec::new();
    };
    let mut keys = vec![key(EXCHANGE, exchange.as_bytes())];
    if i32::from(kept.kind) == RecordKind::Message as i32
        && let Ok(header) = Header::parse(&kept.header)
    {
        let annex = Annex::decode(kept.annex.clone()).unwrap_or_default();
        let subjects = annex.subject_hash.iter();
        keys.extend(subjects.map(|hash| key(SUBJECT, hash)));
        if !annex.subjects_unread.is_empty() {
            keys.push(key(SUBJECTS_UNREAD, b""));
        }
        if header.direction == Direction::Request && header.sequence == 0 {
            keys.extend(of_first_request(&header, &annex));
        }
    }
    keys
}

fn of_first_request(header: &Header, annex: &Annex) -> [ViewKey; 5] {
    let (parties, statements) = (&header.parties, &header.statements);
    [
        key(REQUEST_ID, statements.request_id.as_bytes()),
        key(CASE_NUMBER, statements.case_number.as_bytes()),
        key(CLIENT, parties.client.as_str().as_bytes()),
        key(SERVICE, parties.service.as_str().as_bytes()),
        key(TIME, &time_key(annex.received_at)),
    ]
}

fn key(view: u8, key: &[u8]) -> ViewKey {
    ViewKey {
        view,
        key: key.to_vec(),
    }
}
