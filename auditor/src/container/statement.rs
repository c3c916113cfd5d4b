//! `META-INF/evidence/records.json`: the records of a container, as its maker states them.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trust::{Digest, header::Header, signature::part_name, wire::evidence::RecordKind};
use verifiable_log::{KeptPart, RawRecord};

use super::{Evidence, ProvenRecord};
use crate::audit::leaf_of;

/// The version of the layout.
const FORMAT: &str = "lienthong evidence container 1";

/// What the file says. Bytes are base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    format: String,
    /// The exchange that this is the evidence of.
    pub(crate) exchange: String,
    /// The origin of the log.
    pub(crate) log: String,
    records: Vec<StatedRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedRecord {
    index: u64,
    kind: u8,
    /// Of a message: the beginning of the names of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Of a local record: its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Of a message: the encoded `Signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    /// The encoded `Annex`.
    annex: String,
    /// What the leaf hash is made over, for whoever computes it without us.
    leaf: String,
    /// The inclusion proof, from the leaf's sibling up.
    proof: Vec<String>,
}

impl Statement {
    pub(crate) fn of(evidence: &Evidence) -> Self {
        Self {
            format: FORMAT.to_owned(),
            exchange: evidence.exchange.to_string(),
            log: evidence.log.to_string(),
            records: evidence.records.iter().map(StatedRecord::of).collect(),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// Parses what somebody states.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        let stated: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if stated.format != FORMAT {
            return Err(format!("its format is {:?}, not {FORMAT:?}", stated.format));
        }
        Ok(stated)
    }

    /// The records, with the headers and contents of messages from files by these names.
    ///
    /// # Errors
    /// In words, when a record is not stated as one.
    pub(crate) fn into_records(
        self,
        mut file: impl FnMut(&str) -> Option<Bytes>,
    ) -> Result<Vec<ProvenRecord>, String> {
        let mut records: Vec<ProvenRecord> = Vec::with_capacity(self.records.len());
        for stated in self.records {
            let last = records.last().map(|proven| proven.record.index);
            if last.is_some_and(|last| last >= stated.index) {
                return Err(format!("record {} is out of order", stated.index));
            }
            let index = stated.index;
            let record = stated.into_record(&mut file);
            records.push(record.map_err(|problem| format!("record {index}: {problem}"))?);
        }
        Ok(records)
    }
}

impl StatedRecord {
    fn of(proven: &ProvenRecord) -> Self {
        let ProvenRecord { record, proof } = proven;
        let kept = &record.kept;
        let message = message_name(record);
        Self {
            index: record.index,
            kind: kept.kind,
            body: message.is_none().then(|| encode(&kept.header)),
            signature: message.is_some().then(|| encode(&kept.signature)),
            message,
            annex: encode(&kept.annex),
            leaf: encode(&leaf_of(kept).encode()),
            proof: proof.iter().map(|hash| encode(hash.as_bytes())).collect(),
        }
    }

    fn into_record(
        self,
        file: &mut impl FnMut(&str) -> Option<Bytes>,
    ) -> Result<ProvenRecord, String> {
        let is_message = i32::from(self.kind) == RecordKind::Message as i32;
        let (header, signature, content) = match (self.message, self.body, self.signature) {
            (Some(name), None, Some(signature)) if is_message => {
                let header = file(&format!("{name}.header"))
                    .ok_or_else(|| format!("there is no {name}.header"))?;
                let content = file(&format!("{name}.content")).unwrap_or_default();
                (header, decode(&signature)?, content)
            }
            (None, Some(body), None) if !is_message => (decode(&body)?, Bytes::new(), Bytes::new()),
            _ => return Err("a message has files and a signature, others a body".to_owned()),
        };
        let kept = KeptPart {
            kind: self.kind,
            header,
            signature,
            annex: decode(&self.annex)?,
        };
        let proof = self
            .proof
            .iter()
            .map(|hash| {
                let hash = Digest::from_slice(&decode(hash)?);
                hash.ok_or_else(|| "a hash of its proof has not 32 bytes".to_owned())
            })
            .collect::<Result<_, _>>()?;
        Ok(ProvenRecord {
            record: RawRecord {
                index: self.index,
                kept,
                content_length: content.len() as u64,
                content,
                // What a container holds is compared with its digest.
                is_erased: false,
            },
            proof,
        })
    }
}

/// The beginning of the names of a message's files; none of a record that is no message.
pub(crate) fn message_name(record: &RawRecord) -> Option<String> {
    if i32::from(record.kept.kind) != RecordKind::Message as i32 {
        return None;
    }
    let header = Header::parse(&record.kept.header).ok()?;
    Some(part_name(header.direction, header.sequence))
}

fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Bytes, String> {
    let decoded = BASE64_STANDARD.decode(text);
    decoded
        .map(Bytes::from)
        .map_err(|error| format!("not base64: {error}"))
}
