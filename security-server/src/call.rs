//! A call as it enters or leaves: the parts that become messages.

use bytes::Bytes;
use http::HeaderMap;
use trust::{
    Content,
    content::SALT_LENGTH,
    wire::evidence::{MessageContent, Metadata},
};

use crate::grpc::{budget::Share, metadata, reader::GrpcMessage, status::Status};

/// What a caller or provider set in the headers of the call besides its metadata.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallHeaders {
    pub(crate) metadata: Metadata,
    pub(crate) content_type: String,
    pub(crate) user_agent: String,
    pub(crate) encoding: String,
    pub(crate) accept_encoding: String,
}

impl CallHeaders {
    /// Takes them from the headers of a request or response.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        Self {
            metadata: metadata::from_headers(headers),
            content_type: metadata::text(headers, "content-type"),
            user_agent: metadata::text(headers, "user-agent"),
            encoding: metadata::text(headers, "grpc-encoding"),
            accept_encoding: metadata::text(headers, "grpc-accept-encoding"),
        }
    }

    /// Writes them as headers of a request or response.
    pub(crate) fn write(content: &MessageContent, headers: &mut HeaderMap) {
        if let Some(metadata) = &content.metadata {
            metadata::append(metadata, headers);
        }
        let name = http::HeaderName::from_static;
        metadata::set(headers, http::header::CONTENT_TYPE, &content.content_type);
        metadata::set(headers, http::header::USER_AGENT, &content.user_agent);
        metadata::set(headers, name("grpc-encoding"), &content.grpc_encoding);
        metadata::set(
            headers,
            name("grpc-accept-encoding"),
            &content.grpc_accept_encoding,
        );
    }
}

/// One part of a direction: it becomes one signed message.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// In the first part: the headers of the call.
    pub(crate) headers: Option<CallHeaders>,
    /// A gRPC message, if any.
    pub(crate) message: Option<GrpcMessage>,
    /// Nothing follows in this direction.
    pub(crate) is_final: bool,
    /// In the final reply: how the call ended, and its trailers.
    pub(crate) ending: Option<(Status, Metadata)>,
}

impl Part {
    /// The content of the message that this part becomes, and the memory it holds.
    pub(crate) fn into_content(self, salt: [u8; SALT_LENGTH]) -> (Content, Option<Share>) {
        let (status, trailers) = self
            .ending
            .map_or((None, None), |(s, t)| (Some(s), Some(t)));
        let (compressed, message, share) = self.message.map_or((false, None, None), |m| {
            (m.compressed, Some(m.bytes), Some(m.share))
        });
        let headers = self.headers;
        let mut content = MessageContent {
            salt: Bytes::copy_from_slice(&salt),
            status_message: status
                .as_ref()
                .map(|s| s.message.clone())
                .unwrap_or_default(),
            status_details: status.map(|s| s.details).unwrap_or_default(),
            trailers,
            compressed,
            message,
            ..MessageContent::default()
        };
        if let Some(headers) = headers {
            content.metadata = Some(headers.metadata);
            content.content_type = headers.content_type;
            content.user_agent = headers.user_agent;
            content.grpc_encoding = headers.encoding;
            content.grpc_accept_encoding = headers.accept_encoding;
        }
        (Content::encode(&content), share)
    }
}
