//! Gives recorded replies to the client, as the provider gave them.

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use proto::refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER};
use tokio::sync::oneshot;
use trust::{
    Digest, ExchangeId,
    header::Header,
    refusal::{Side, fault_of},
    wire::evidence::MessageContent,
};

use super::{record::Recorded, verify::VerifiedReply};
use crate::{
    call::CallHeaders,
    grpc::{
        body::{self, BodyWriter, Chunk, ReaderGone, WrittenBody},
        metadata,
        status::{Status, refusal_trailers},
    },
    interruption::Interruption,
    until::until,
};

/// The answer to one call: the head once, then the body.
pub(crate) struct ReplyWriter {
    head: Option<oneshot::Sender<Response<WrittenBody>>>,
    body: Option<BodyWriter>,
    /// The fields of the bus that every answer carries.
    fields: Fields,
}

struct Fields {
    request_id: String,
    exchange: ExchangeId,
    request_hash: Option<Digest>,
}

impl Fields {
    fn put(&self, headers: &mut HeaderMap) {
        let name = http::HeaderName::from_static;
        let exchange = self.exchange.to_string();
        let id = if self.request_id.is_empty() {
            &exchange
        } else {
            &self.request_id
        };
        metadata::set(headers, name("x-road-id"), id);
        metadata::set(headers, name("x-road-exchange-id"), &exchange);
        if let Some(digest) = self.request_hash {
            metadata::set(headers, name("x-road-request-hash"), &digest.to_string());
        }
    }
}

impl ReplyWriter {
    /// For the exchange that the answer will name.
    pub(crate) fn new(
        head: oneshot::Sender<Response<WrittenBody>>,
        exchange: ExchangeId,
        request_id: String,
    ) -> Self {
        let fields = Fields {
            request_id,
            exchange,
            request_hash: None,
        };
        Self {
            head: Some(head),
            body: None,
            fields,
        }
    }

    /// From here on the answer names the recorded first request.
    pub(crate) const fn name_request(&mut self, digest: Option<Digest>) {
        self.fields.request_hash = digest;
    }

    /// Waits for somebody else, unless the client no longer waits.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) fn unless_gone<T>(
        &mut self,
        wait: impl Future<Output = Result<T, Interruption>>,
    ) -> impl Future<Output = Result<T, Interruption>> {
        let gone = async {
            match (&mut self.head, &self.body) {
                (Some(head), _) => head.closed().await,
                (None, Some(body)) => body.reader_gone().await,
                (None, None) => std::future::pending().await,
            }
        };
        until(wait, gone, false)
            .map(|outcome| outcome.unwrap_or_else(|()| Err(Interruption::cancelled())))
    }

    /// Delivers one recorded reply.
    ///
    /// # Errors
    /// When the client no longer reads.
    pub(crate) async fn deliver(
        &mut self,
        reply: Recorded<VerifiedReply>,
    ) -> Result<(), Interruption> {
        let gone = |_: ReaderGone| Interruption::cancelled();
        let verified = reply.message.reply;
        let (header, content) = (verified.message.header(), verified.content);
        let trailers = final_trailers(header, &content);
        if self.head.is_some() {
            let without_body = content.metadata.is_none() && content.message.is_none();
            if without_body && let Some(trailers) = trailers {
                return self
                    .answer_without_body(trailers)
                    .map_err(|_| Interruption::cancelled());
            }
        }
        let head = self.head.is_some().then(|| self.begin(&content));
        let chunk = match content.message {
            Some(message) => Chunk::of(content.compressed, message).map_err(gone)?,
            None => Chunk::default(),
        };
        let chunk = chunk.holding(Some(verified.share));
        let body = self.body.as_ref().ok_or_else(Interruption::cancelled)?;
        match trailers {
            Some(trailers) => {
                body.write_last(chunk, Some(trailers)).await.map_err(gone)?;
                self.body = None;
            }
            None => body.write(chunk).await.map_err(gone)?,
        }
        // The head goes with what follows it, which the first time waits for nobody.
        match head {
            Some(head) => self.send_head(head).map_err(|()| Interruption::cancelled()),
            None => Ok(()),
        }
    }

    /// Tells the client of a refusal; when the client is gone there is nobody to tell.
    pub(crate) async fn refuse(mut self, refusal: &RefusalStatus) {
        let trailers = refusal_trailers(refusal);
        if self.head.is_some() {
            let _ = self.answer_without_body(trailers);
        } else if let Some(body) = self.body {
            let _ = body.trailers(trailers).await;
        }
    }

    /// Response headers with a body to follow.
    fn begin(&mut self, content: &MessageContent) -> Response<WrittenBody> {
        let (writer, body) = body::channel();
        let mut response = Response::new(body);
        CallHeaders::write(content, response.headers_mut());
        self.body = Some(writer);
        response
    }

    /// A trailers-only answer: everything stands in the response headers.
    fn answer_without_body(&mut self, trailers: HeaderMap) -> Result<(), ()> {
        let mut response = Response::new(WrittenBody::empty());
        *response.headers_mut() = trailers;
        self.send_head(response)
    }

    fn send_head(&mut self, mut response: Response<WrittenBody>) -> Result<(), ()> {
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/grpc"));
        self.fields.put(headers);
        self.head.take().ok_or(())?.send(response).map_err(drop)
    }
}

/// Status and trailers of the final reply; none before.
fn final_trailers(header: &Header, content: &MessageContent) -> Option<HeaderMap> {
    let code = header.status_code?;
    let mut trailers = HeaderMap::new();
    if let Some(metadata) = &content.trailers {
        metadata::append(metadata, &mut trailers);
    }
    let status = Status {
        code,
        message: content.status_message.clone(),
        details: content.status_details.clone(),
    };
    status.put(&mut trailers);
    if let Some(refusal) = &header.refusal_code {
        let name = http::HeaderName::from_static;
        metadata::set(&mut trailers, name(REFUSAL_TRAILER), refusal);
        metadata::set(
            &mut trailers,
            name(SERVER_TRAILER),
            header.sending_server().as_str(),
        );
        if let Some(fault) = fault_of(refusal, Side::Provider) {
            metadata::set(&mut trailers, name(FAULT_TRAILER), fault.name());
        }
    }
    Some(trailers)
}
