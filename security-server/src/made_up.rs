//! Messages made up for tests: they look like those in a log, and nobody has signed them.

use bytes::Bytes;
use prost::Message;
use trust::{
    Content, Digest, ExchangeId, MethodPath,
    header::{Answers, Direction, Header, Parties, Statements},
    message::SignedMessage,
    signature::{Signer, SigningFailed},
    wire::evidence::{Annex, MessageContent, Promise, RecordKind, Stage},
};
use verifiable_log::{KeptPart, Record};

/// A message of an exchange.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MadeUp {
    pub(crate) direction: Direction,
    pub(crate) stage: Stage,
    pub(crate) exchange: u8,
    pub(crate) sequence: u64,
    pub(crate) is_final: bool,
    /// Of a reply: the newest request, and where the provider promises to keep that.
    pub(crate) promised: Option<(u64, u64)>,
}

/// The id of an exchange: a UUID of version 7.
pub(crate) fn id(number: u8) -> [u8; 16] {
    let mut id = [number; 16];
    (id[6], id[8]) = (0x70, 0x80);
    id
}

/// Signs nothing: what a log keeps is not verified when it is read.
struct Unsigned;

impl Signer for Unsigned {
    fn certificate_digest(&self) -> Digest {
        Digest::of(b"certificate")
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        Ok(vec![1])
    }
}

impl MadeUp {
    /// As it is recorded at a time, in milliseconds since 1970 (UTC).
    pub(crate) fn record(self, at: i64) -> Record {
        let digest = Digest::of(b"another message");
        let is_reply = self.direction == Direction::Reply;
        let provider = "VN/GOV/G02/server-1";
        let header = Header {
            parties: Parties {
                instance: "VN".parse().unwrap(),
                exchange: ExchangeId::from_slice(&id(self.exchange)).unwrap(),
                client: "VN/GOV/G01/desk".parse().unwrap(),
                service: "VN/GOV/G02/population".parse().unwrap(),
                method: MethodPath::parse("/population.v1.Population/Follow").unwrap(),
                consumer: "VN/GOV/G01/server-1".parse().unwrap(),
                provider: provider.parse().unwrap(),
            },
            direction: self.direction,
            sequence: self.sequence,
            is_final: self.is_final,
            refusal_code: None,
            configuration_serial: 1,
            created_at: 1_800_000_000,
            deadline_milliseconds: None,
            statements: Statements::default(),
            previous: (self.sequence > 0).then_some(digest),
            answers: is_reply.then(|| Answers {
                first_request: digest,
                newest_sequence: self.promised.map_or(0, |(newest, _)| newest),
                newest_request: digest,
            }),
            status_code: (is_reply && self.is_final).then_some(0),
            promise: self.promised.map(|(_, index)| Promise {
                origin: format!("{provider}/1"),
                index,
                annex_digest: digest.to_bytes(),
            }),
            content_digest: digest,
        };
        let content = Content::encode(&MessageContent {
            salt: Bytes::from(vec![7; 16]),
            ..MessageContent::default()
        });
        let message = SignedMessage::sign(header, content, &Unsigned).unwrap();
        let annex = Annex {
            kind: RecordKind::Message.into(),
            stage: self.stage.into(),
            received_at: at,
            salt: Bytes::from(vec![7; 16]),
            ..Annex::default()
        };
        Record {
            kept: KeptPart {
                kind: RecordKind::Message as u8,
                header: message.header_bytes().clone(),
                signature: message.signature().encode_to_vec().into(),
                annex: annex.encode_to_vec().into(),
            },
            message_digest: message.digest(),
            signature_digest: Digest::of(message.signature_value()),
            content: vec![message.content().bytes().clone()],
        }
    }
}
