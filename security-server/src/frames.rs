//! Frames between security servers: one gRPC message each, content written without a copy.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use proto::exchange::{Frame, TrustMaterial, frame};
use trust::{Reason, Refusal, message::SignedMessage, wire::evidence::Envelope};

use crate::grpc::{
    budget::{Budget, Share},
    reader::{MessageReader, ReadError},
    writer::{Chunk, ReaderGone},
};

/// What an envelope and its frame add to a message: header, signature, metadata, prefixes.
pub(crate) const FRAME_OVERHEAD: usize = 256 * 1024;

/// Reads the frames of one direction.
pub(crate) struct FrameReader<B> {
    messages: MessageReader<B>,
}

/// A frame and the memory it holds.
pub(crate) struct ReceivedFrame {
    pub(crate) body: frame::Body,
    pub(crate) share: Share,
}

impl<B> FrameReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B, budget: &Budget) -> Self {
        Self {
            messages: MessageReader::new(body, budget.with_overhead(FRAME_OVERHEAD)),
        }
    }

    /// The next frame; none when the peer has ended its direction.
    pub(crate) async fn next(&mut self) -> Result<Option<ReceivedFrame>, ReadError> {
        let malformed = |what: String| Refusal::new(Reason::MalformedEnvelope, what);
        let read = self.messages.next().await.map_err(|error| match error {
            // A server that does not speak gRPC is at fault itself, not the client.
            ReadError::Refused(refusal) if refusal.reason == Reason::MalformedMessage => {
                malformed(refusal.explanation).into()
            }
            other => other,
        });
        let Some(message) = read? else {
            return Ok(None);
        };
        if message.compressed {
            return Err(
                malformed("frames between security servers are not compressed".into()).into(),
            );
        }
        let frame = Frame::decode(message.bytes)
            .map_err(|error| malformed(format!("a frame does not parse: {error}")))?;
        let body = frame
            .body
            .ok_or_else(|| malformed("a frame is empty".to_owned()))?;
        Ok(Some(ReceivedFrame {
            body,
            share: message.share,
        }))
    }

    /// Whether the stream ends here; waits for the answer for a moment.
    pub(crate) async fn ends(&mut self) -> bool {
        self.messages.ends().await.unwrap_or(true)
    }

    /// Reads the stream to its end.
    pub(crate) async fn finish(&mut self) {
        self.messages.finish().await;
    }

    /// The trailers, after the end.
    pub(crate) fn take_trailers(&mut self) -> Option<http::HeaderMap> {
        self.messages.take_trailers()
    }
}

/// A message as an envelope frame, and before it, if given, the signing certificate that this and
/// later ones name.
pub(crate) fn envelope(
    material: Option<&TrustMaterial>,
    message: &SignedMessage,
    share: Option<Share>,
) -> Result<Chunk, ReaderGone> {
    let mut chunk = Chunk::default();
    if let Some(material) = material {
        let frame = Frame {
            body: Some(frame::Body::TrustMaterial(material.clone())),
        };
        chunk = chunk.and(false, &frame.encode_to_vec(), Bytes::new())?;
    }
    let content = message.content().bytes().clone();
    let lead = envelope_lead(message, content.len());
    Ok(chunk.and(false, &lead, content)?.holding(share))
}

/// Everything of the frame that stands before the content, which is its last field.
fn envelope_lead(message: &SignedMessage, content_length: usize) -> BytesMut {
    const ENVELOPE: u32 = 1;
    const CONTENT: u32 = 3;
    let without_content = Envelope {
        header: message.header_bytes().clone(),
        signature: Some(message.signature().clone()),
        content: Bytes::new(),
    };
    let content_field = match content_length {
        0 => 0,
        length => 1 + encoded_len_varint(length as u64) + length,
    };
    let envelope_length = without_content.encoded_len() + content_field;
    let mut lead = BytesMut::with_capacity(without_content.encoded_len() + 32);
    encode_key(ENVELOPE, WireType::LengthDelimited, &mut lead);
    encode_varint(envelope_length as u64, &mut lead);
    without_content.encode_raw(&mut lead);
    if content_length > 0 {
        encode_key(CONTENT, WireType::LengthDelimited, &mut lead);
        encode_varint(content_length as u64, &mut lead);
    }
    lead
}
