//! The content of a message: what caller and provider exchange, as bytes made once.

use bytes::Bytes;
use prost::Message;

use crate::{
    Digest,
    fields::Fields,
    refusal::{Reason, Refusal},
    wire::evidence::{MessageContent, Metadata},
};

/// Length of the salt that makes the digest of a content reveal nothing.
pub const SALT_LENGTH: usize = 16;

/// The most entries that the metadata, and as many the trailers, of a content may have.
pub const METADATA_ENTRIES_LIMIT: usize = 512;

/// The most that the metadata with the headers of the call, and as much the trailers, may measure,
/// in bytes as HTTP/2 counts them (RFC 9113, 10.5.1): name, value and 32 for each. With what the bus
/// adds, it is less than makes an HTTP/2 server close a connection that others share.
pub const METADATA_LIMIT: usize = 32 * 1024;

/// What HTTP/2 counts for each header beside its name and value.
const ENTRY_OVERHEAD: usize = 32;

/// The most that status message and details may measure together, in bytes.
pub const STATUS_LIMIT: usize = 8 * 1024;

/// The most that the encoded content of a refusal may measure, in bytes.
pub const REFUSAL_LIMIT: usize = 8 * 1024;

/// Encoded content with its digest, hashed once.
#[derive(Clone, Debug)]
pub struct Content {
    bytes: Bytes,
    digest: Digest,
}

impl Content {
    /// Encodes a content that this server makes; the only place where content is encoded.
    #[must_use]
    pub fn encode(content: &MessageContent) -> Self {
        Self::received(content.encode_to_vec().into())
    }

    /// Content as it came over the wire or out of a log.
    #[must_use]
    pub fn received(bytes: Bytes) -> Self {
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }

    /// The encoded bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the encoded bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Parses the content; the message inside shares the bytes.
    ///
    /// # Errors
    /// `MalformedEnvelope` when the bytes are no content, carry no salt, or carry more metadata,
    /// trailers or status than [`METADATA_ENTRIES_LIMIT`], [`METADATA_LIMIT`] and [`STATUS_LIMIT`]
    /// allow.
    pub fn parse(&self) -> Result<MessageContent, Refusal> {
        self.check_entries()?;
        let content = MessageContent::decode(self.bytes.clone())
            .map_err(|error| malformed(format!("the content does not parse: {error}")))?;
        if content.salt.len() != SALT_LENGTH {
            return Err(malformed(format!(
                "the content's salt has {} bytes, not {SALT_LENGTH}",
                content.salt.len()
            )));
        }
        let headers = [
            &content.content_type,
            &content.user_agent,
            &content.grpc_encoding,
            &content.grpc_accept_encoding,
        ];
        let headers: usize = headers.iter().map(|text| text.len() + ENTRY_OVERHEAD).sum();
        check_size(
            "metadata",
            header_list_size(content.metadata.as_ref()) + headers,
        )?;
        check_size("trailers", header_list_size(content.trailers.as_ref()))?;
        let status = content.status_message.len() + content.status_details.len();
        if status > STATUS_LIMIT {
            return Err(malformed(format!(
                "the content's status measures {status} bytes, more than {STATUS_LIMIT}"
            )));
        }
        Ok(content)
    }

    /// Whether this may be the content of a refusal: a status, and nothing that is delivered. Who
    /// may sign a refusal need not be the one who may speak, and nobody keeps what it carries.
    pub(crate) fn check_refusal(&self) -> Result<(), Refusal> {
        if self.bytes.len() > REFUSAL_LIMIT {
            return Err(malformed(format!(
                "a refusal has a content of {} bytes, more than {REFUSAL_LIMIT}",
                self.bytes.len()
            )));
        }
        let content = self.parse()?;
        let status = MessageContent {
            salt: content.salt.clone(),
            status_message: content.status_message.clone(),
            status_details: content.status_details.clone(),
            ..MessageContent::default()
        };
        if content.message.is_some() {
            return Err(malformed("a refusal carries a message"));
        }
        if content != status {
            return Err(malformed(
                "a refusal carries more than its status message and details",
            ));
        }
        Ok(())
    }

    /// Counts entries before they are decoded: an empty one has two bytes and would take fifty.
    fn check_entries(&self) -> Result<(), Refusal> {
        let (mut metadata, mut trailers) = (0, 0);
        // Bytes that are no fields end the walk here and are refused by the decoder.
        for (number, field) in Fields(self.bytes.clone()).flatten() {
            let (name, entries) = match number {
                METADATA_FIELD => ("metadata", &mut metadata),
                TRAILERS_FIELD => ("trailers", &mut trailers),
                _ => continue,
            };
            *entries += Fields(field.unwrap_or_default())
                .filter(|field| matches!(field, Ok((ENTRIES_FIELD, _))))
                .take(METADATA_ENTRIES_LIMIT + 1)
                .count();
            if *entries > METADATA_ENTRIES_LIMIT {
                return Err(malformed(format!(
                    "the content's {name} have more than {METADATA_ENTRIES_LIMIT} entries"
                )));
            }
        }
        Ok(())
    }
}

/// Numbers of fields of `MessageContent` and `Metadata`.
const METADATA_FIELD: u32 = 2;
const TRAILERS_FIELD: u32 = 5;
const ENTRIES_FIELD: u32 = 1;

fn header_list_size(metadata: Option<&Metadata>) -> usize {
    let entries = metadata.map_or(&[][..], |metadata| &metadata.entries);
    let sizes = entries
        .iter()
        .map(|entry| entry.key.len() + entry.value.len() + ENTRY_OVERHEAD);
    sizes.sum()
}

fn check_size(name: &str, size: usize) -> Result<(), Refusal> {
    if size > METADATA_LIMIT {
        return Err(malformed(format!(
            "the content's {name} measure {size} bytes, more than {METADATA_LIMIT}"
        )));
    }
    Ok(())
}

fn malformed(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::MalformedEnvelope, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::evidence::MetadataEntry;

    #[test]
    fn metadata_in_pieces_is_counted_and_measured_together() {
        let piece = |entries: usize, value: &'static [u8]| MessageContent {
            salt: Bytes::from_static(&[6; SALT_LENGTH]),
            metadata: Some(Metadata {
                entries: vec![
                    MetadataEntry {
                        key: String::new(),
                        value: Bytes::from_static(value)
                    };
                    entries
                ],
            }),
            ..MessageContent::default()
        };
        let twice = |piece: MessageContent| {
            let bytes = piece.encode_to_vec();
            Content::received([bytes.as_slice(), &bytes].concat().into()).parse()
        };
        assert!(twice(piece(256, b"")).is_ok());
        let refusal = twice(piece(257, b"")).unwrap_err();
        assert!(refusal.explanation.contains("512 entries"), "{refusal}");
        // Two entries, and the four headers of the call.
        const VALUE: usize = (METADATA_LIMIT - 6 * ENTRY_OVERHEAD) / 2;
        assert!(twice(piece(1, &[0; VALUE])).is_ok());
        let refusal = twice(piece(1, &[0; VALUE + 1])).unwrap_err();
        assert!(refusal.explanation.contains("32770 bytes"), "{refusal}");
    }

    #[test]
    fn headers_of_the_call_and_status_are_measured_too() {
        let salt = || Bytes::from_static(&[6; SALT_LENGTH]);
        let agent = |length| MessageContent {
            salt: salt(),
            user_agent: "x".repeat(length),
            ..MessageContent::default()
        };
        let status = |length| MessageContent {
            salt: salt(),
            status_message: "x".repeat(length),
            ..MessageContent::default()
        };
        let parse = |content: MessageContent| Content::encode(&content).parse();
        assert!(parse(agent(METADATA_LIMIT - 4 * ENTRY_OVERHEAD)).is_ok());
        assert!(parse(agent(METADATA_LIMIT - 4 * ENTRY_OVERHEAD + 1)).is_err());
        assert!(parse(status(STATUS_LIMIT)).is_ok());
        assert!(parse(status(STATUS_LIMIT + 1)).is_err());
    }

    #[test]
    fn the_content_of_a_refusal_is_small() {
        let refusal = |length| {
            Content::encode(&MessageContent {
                salt: Bytes::from_static(&[6; SALT_LENGTH]),
                status_message: "x".repeat(length),
                ..MessageContent::default()
            })
        };
        let largest = refusal(REFUSAL_LIMIT - 2 - SALT_LENGTH - 3);
        assert_eq!(largest.bytes().len(), REFUSAL_LIMIT);
        largest.check_refusal().unwrap();
        let larger = refusal(REFUSAL_LIMIT - 2 - SALT_LENGTH - 2);
        let refused = larger.check_refusal().unwrap_err();
        assert!(refused.explanation.contains("8193 bytes"), "{refused}");
    }
}
