//! What the message log of a running server says of one exchange, read as an auditor reads it.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use trust::{
    Digest, ExchangeId,
    header::Header,
    leaf::LeafPreimage,
    record::leaf_preimage,
    wire::evidence::{
        Annex, Closing, PeerCheckpoint, RecordKind, RefusedAction, SecurityEvent, Signature, Stage,
        signature::Form,
    },
};
use verifiable_log::{InvalidRecord, KeptPart, RawRecord, Reader};

use crate::Error;

/// A log, read from its first record to what was its last.
#[derive(Debug, Default)]
pub struct MessageLog {
    /// The messages.
    pub messages: Vec<MessageEntry>,
    /// The ends of exchanges without a final reply.
    pub closings: Vec<Closing>,
    /// What was refused before it could be evidence.
    pub security: Vec<SecurityEvent>,
    /// What other servers proved of their logs.
    pub peer_checkpoints: Vec<PeerCheckpoint>,
    /// What operators asked for and were refused.
    pub refused_actions: Vec<RefusedAction>,
}

/// A recorded message.
#[derive(Debug)]
pub struct MessageEntry {
    /// Its header.
    pub header: Header,
    /// Its digest.
    pub digest: Digest,
    /// Whether it was signed together with others.
    pub signed_in_batch: bool,
    /// Its content; empty when none was kept.
    pub content: Bytes,
    /// What the server says of it.
    pub annex: Annex,
}

impl MessageLog {
    /// Reads a log beside the server that writes it. All that the server has acknowledged is there.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let mut log = Self::default();
        for read in Reader::open(folder, leaf_of)? {
            log.take(read?.record)?;
        }
        Ok(log)
    }

    fn take(&mut self, record: RawRecord) -> Result<(), Error> {
        let header = record.kept.header.clone();
        match RecordKind::try_from(i32::from(record.kept.kind))? {
            RecordKind::Message => {
                let signature = Signature::decode(record.kept.signature.clone())?;
                self.messages.push(MessageEntry {
                    digest: leaf_of(&record.kept)?.message_digest,
                    header: Header::parse(&header)?,
                    signed_in_batch: matches!(signature.form, Some(Form::CadesBatchV1(_))),
                    content: record.content,
                    annex: Annex::decode(record.kept.annex)?,
                });
            }
            RecordKind::Closing => self.closings.push(Closing::decode(header)?),
            RecordKind::Security => self.security.push(SecurityEvent::decode(header)?),
            RecordKind::PeerCheckpoint => {
                self.peer_checkpoints.push(PeerCheckpoint::decode(header)?);
            }
            RecordKind::RefusedAction => {
                self.refused_actions.push(RefusedAction::decode(header)?);
            }
            _ => {}
        }
        Ok(())
    }

    /// The messages of an exchange, in the order in which they were recorded.
    pub fn messages_of(&self, exchange: ExchangeId) -> impl Iterator<Item = &MessageEntry> {
        let of = move |entry: &&MessageEntry| entry.header.parties.exchange == exchange;
        self.messages.iter().filter(of)
    }

    /// The closing records of an exchange.
    pub fn closings_of(&self, exchange: ExchangeId) -> Vec<&Closing> {
        let of = |closing: &&Closing| closing.exchange_id == exchange.as_bytes()[..];
        self.closings.iter().filter(of).collect()
    }
}

impl MessageEntry {
    /// Whether the keeper of the log sent it.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.annex.stage() == Stage::Sent
    }
}

pub(crate) fn leaf_of(kept: &KeptPart) -> Result<LeafPreimage, InvalidRecord> {
    leaf_preimage(kept.kind, &kept.header, &kept.signature, &kept.annex)
        .map_err(|refusal| InvalidRecord(refusal.to_string()))
}
