//! A client that calls any path with any metadata and bytes, and shows all of the answer.

use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataKey, MetadataMap},
    transport::{Channel, Endpoint},
};

use crate::{Error, caller::tls_channel};

/// A connection to a security server.
#[derive(Clone)]
pub struct BareCaller {
    channel: Channel,
}

/// All that came back from one call.
#[derive(Debug)]
pub struct Answer {
    /// The initial metadata; without a body, the one and only metadata.
    pub initial: MetadataMap,
    /// The messages in their order.
    pub messages: Vec<Bytes>,
    /// How the call ended, OK or not, with the trailers.
    pub status: Status,
}

impl BareCaller {
    /// Connects without TLS.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn plaintext(address: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        Ok(Self {
            channel: endpoint.connect().await?,
        })
    }

    /// Connects with TLS 1.3, with a client certificate and its key or without.
    ///
    /// # Errors
    /// When files cannot be read or nobody answers.
    pub async fn tls(
        address: &str,
        authority: &Path,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Self, Error> {
        Ok(Self {
            channel: tls_channel(address, authority, identity).await?,
        })
    }

    /// Sends one message and waits for the whole answer.
    ///
    /// # Errors
    /// When the path or the metadata cannot be sent at all.
    pub async fn call(
        &self,
        path: &str,
        metadata: &[(&str, &str)],
        message: &[u8],
    ) -> Result<Answer, Error> {
        let message = Bytes::copy_from_slice(message);
        let mut request = Request::new(tokio_stream::once(message));
        for (name, value) in metadata {
            let name: MetadataKey<Ascii> = name.parse()?;
            request.metadata_mut().append(name, value.parse()?);
        }
        // What is too large is for the servers to say.
        let mut client =
            tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        client.ready().await?;
        let answered = client.streaming(request, path.parse()?, Bare).await;
        let (initial, mut replies) = match answered {
            Ok(response) => {
                let (initial, replies, _) = response.into_parts();
                (initial, replies)
            }
            Err(status) => return Ok(Answer::without_body(status)),
        };
        let mut messages = Vec::new();
        let status = loop {
            match replies.message().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => {
                    let trailers = replies.trailers().await?.unwrap_or_default();
                    break Status::with_metadata(tonic::Code::Ok, "", trailers);
                }
                Err(status) => break status,
            }
        };
        Ok(Answer {
            initial,
            messages,
            status,
        })
    }
}

impl Answer {
    fn without_body(status: Status) -> Self {
        Self {
            initial: status.metadata().clone(),
            messages: Vec::new(),
            status,
        }
    }

    /// A field of the answer, wherever it stands.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let value = self.initial.get(name);
        value
            .or_else(|| self.status.metadata().get(name))
            .and_then(|value| value.to_str().ok())
    }

    /// The names of all fields of the bus in the answer, sorted, each as often as it is there.
    #[must_use]
    pub fn bus_fields(&self) -> Vec<&str> {
        let mut found: Vec<&str> = bus_names(&self.initial).collect();
        if !self.is_without_body() {
            found.extend(bus_names(self.status.metadata()));
        }
        found.sort_unstable();
        found
    }

    fn is_without_body(&self) -> bool {
        self.messages.is_empty() && self.initial.as_ref() == self.status.metadata().as_ref()
    }
}

fn bus_names(metadata: &MetadataMap) -> impl Iterator<Item = &str> {
    let names = metadata.as_ref().iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("x-road-"))
}

/// Messages as they stand on the wire.
struct Bare;

impl Codec for Bare {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
