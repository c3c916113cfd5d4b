//! What the server says about itself: the bodies of local records, parsed strictly.

use bytes::Bytes;
use prost::Message;
use trust::{
    ExchangeId,
    refusal::Side,
    wire::evidence::{
        Annex, CertificateRecord, Change, ClockAccepted, Closing, Erased, Membership,
        PeerCheckpoint, RecordKind, RefusedAction, SecurityEvent, Stage, Torn,
    },
};
use verifiable_log::RawRecord;

/// The body of a local record.
pub(crate) enum LocalRecord {
    /// The end of an exchange without a final reply.
    Closing(Side, ExchangeId, Closing),
    /// Something that was refused before it could be evidence.
    Security(SecurityEvent),
    /// A change of the local state.
    Change(Change),
    /// A signing certificate.
    Certificate(Bytes),
    /// A signed root document.
    RootDocument(Bytes),
    /// A head of the configuration.
    Head(Bytes),
    /// A proof of membership.
    Membership(Membership),
    /// Bytes that were cut off the end of the log.
    Torn(Torn),
    /// Content that was destroyed.
    Erased(Erased),
    /// The clock was accepted.
    Clock(ClockAccepted),
    /// What another server proved of its log.
    PeerCheckpoint(PeerCheckpoint),
    /// What an operator asked for and was refused.
    RefusedAction,
}

impl LocalRecord {
    /// Parses a record that is no message.
    ///
    /// # Errors
    /// In words, when it is not what its kind says.
    pub(crate) fn parse(kind: RecordKind, record: &RawRecord) -> Result<Self, String> {
        if !record.kept.signature.is_empty() || !record.content.is_empty() {
            return Err("a local record has neither signature nor content".to_owned());
        }
        let body = record.kept.header.clone();
        match kind {
            RecordKind::Closing => closing(decode(body)?),
            RecordKind::Security => decode(body).map(Self::Security),
            RecordKind::Change => decode(body).map(Self::Change),
            RecordKind::Certificate => {
                decode(body).map(|record: CertificateRecord| Self::Certificate(record.certificate))
            }
            RecordKind::RootDocument => Ok(Self::RootDocument(body)),
            RecordKind::Head => Ok(Self::Head(body)),
            RecordKind::Membership => decode(body).map(Self::Membership),
            RecordKind::Torn => decode(body).map(Self::Torn),
            RecordKind::Erased => {
                let erased: Erased = decode(body)?;
                let past =
                    erased.first_index <= erased.last_index && erased.last_index < record.index;
                if past {
                    Ok(Self::Erased(erased))
                } else {
                    Err("it destroys content of records that are not before it".to_owned())
                }
            }
            RecordKind::Clock => decode(body).map(Self::Clock),
            RecordKind::PeerCheckpoint => decode(body).map(Self::PeerCheckpoint),
            RecordKind::RefusedAction => decode(body).map(|_: RefusedAction| Self::RefusedAction),
            RecordKind::Message | RecordKind::Entry | RecordKind::Unspecified => Err(format!(
                "no record of kind {} belongs here",
                record.kept.kind
            )),
        }
    }
}

/// Whether an annex is of the record it stands in, whatever its kind.
pub(crate) fn check_annex(annex: &Annex, kind: u8) -> Result<(), String> {
    let kind = i32::from(kind);
    if annex.kind != kind {
        return Err(format!(
            "the annex says kind {}, the record {kind}",
            annex.kind
        ));
    }
    if kind != RecordKind::Message as i32 && annex.stage() != Stage::Local {
        return Err("the annex of a local record says that it was sent or received".to_owned());
    }
    Ok(())
}

fn closing(closing: Closing) -> Result<LocalRecord, String> {
    let side = [Side::Consumer, Side::Provider]
        .into_iter()
        .find(|side| side.name() == closing.side);
    let side = side.ok_or("it names no side of an exchange")?;
    let exchange = ExchangeId::from_slice(&closing.exchange_id).ok_or("it names no exchange")?;
    Ok(LocalRecord::Closing(side, exchange, closing))
}

fn decode<Body: Message + Default>(body: Bytes) -> Result<Body, String> {
    Body::decode(body).map_err(|error| format!("it does not parse: {error}"))
}
