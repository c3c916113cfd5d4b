//! The content of a message: what caller and provider exchange, as bytes made once.

use bytes::Bytes;
use prost::Message;

use crate::{
    Digest,
    refusal::{Reason, Refusal},
    wire::evidence::MessageContent,
};

/// Length of the salt that makes the digest of a content reveal nothing.
pub const SALT_LENGTH: usize = 16;

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
    /// `MalformedEnvelope` when the bytes are no content or carry no salt.
    pub fn parse(&self) -> Result<MessageContent, Refusal> {
        let content = MessageContent::decode(self.bytes.clone()).map_err(|error| {
            Refusal::new(
                Reason::MalformedEnvelope,
                format!("the content does not parse: {error}"),
            )
        })?;
        if content.salt.len() != SALT_LENGTH {
            return Err(Refusal::new(
                Reason::MalformedEnvelope,
                format!(
                    "the content's salt has {} bytes, not {SALT_LENGTH}",
                    content.salt.len()
                ),
            ));
        }
        Ok(content)
    }
}
