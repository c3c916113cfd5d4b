//! Gives recorded replies to the client, as the provider gave them.

use std::mem;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Response, header};
use proto::refusal::{FAULT_TRAILER, REFUSAL_TRAILER, RefusalStatus, SERVER_TRAILER};
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
        metadata,
        status::{Status, refusal_trailers},
        writer::{Chunk, MessageWriter, ReaderGone},
    },
    http2::server::Responder,
    interruption::Interruption,
    until::until,
};

/// The answer to one call: the head once, then the body.
pub(crate) struct ReplyWriter {
    state: State,
    /// The fields of the bus that every answer carries.
    fields: Fields,
}

enum State {
    /// Nothing was said yet.
    Unanswered(Responder),
    /// The head was given.
    Answering(MessageWriter),
    /// Everything was said.
    Answered,
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
    pub(crate) fn new(responder: Responder, exchange: ExchangeId, request_id: String) -> Self {
        let fields = Fields {
            request_id,
            exchange,
            request_hash: None,
        };
        Self {
            state: State::Unanswered(responder),
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
        self.until_gone(wait, false)
    }

    /// The same, and nothing is even begun for a client that is gone already.
    ///
    /// # Errors
    /// Those of the wait, or `Cancelled`.
    pub(crate) fn unless_gone_already<T>(
        &mut self,
        wait: impl Future<Output = Result<T, Interruption>>,
    ) -> impl Future<Output = Result<T, Interruption>> {
        self.until_gone(wait, true)
    }

    fn until_gone<T>(
        &mut self,
        wait: impl Future<Output = Result<T, Interruption>>,
        may_be_gone: bool,
    ) -> impl Future<Output = Result<T, Interruption>> {
        let gone = async {
            match &mut self.state {
                State::Unanswered(responder) => responder.reader_gone().await,
                State::Answering(body) => body.reader_gone().await,
                State::Answered => std::future::pending().await,
            }
        };
        until(wait, gone, may_be_gone)
            .map(|outcome| outcome.unwrap_or_else(|()| Err(Interruption::cancelled())))
    }

    /// Delivers one recorded reply. The final one may be on its way still: see [`Self::finish`].
    ///
    /// # Errors
    /// When the client no longer reads, or reads nothing while others wait.
    pub(crate) async fn deliver(
        &mut self,
        reply: Recorded<VerifiedReply>,
    ) -> Result<(), Interruption> {
        let gone = |_: ReaderGone| Interruption::cancelled();
        let verified = reply.message.reply;
        let (header, content) = (verified.message.header(), verified.content);
        let trailers = final_trailers(header, &content);
        if let State::Unanswered(_) = self.state {
            let without_body = content.metadata.is_none() && content.message.is_none();
            match trailers {
                Some(trailers) if without_body => {
                    return self.answer_without_body(trailers).map_err(gone);
                }
                _ => self.begin(&content).map_err(gone)?,
            }
        }
        let State::Answering(body) = &mut self.state else {
            return Err(Interruption::cancelled());
        };
        let chunk = match content.message {
            Some(message) => Chunk::of(content.compressed, message).map_err(gone)?,
            None => Chunk::default(),
        };
        let chunk = chunk.holding(Some(verified.share));
        match trailers {
            Some(trailers) => body.write_last(chunk, Some(trailers)).await?,
            None => body.write(chunk).await?,
        }
        Ok(())
    }

    /// Lets the client read the answer to its end.
    pub(crate) async fn finish(self) {
        if let State::Answering(body) = self.state {
            let _ = body.finish().await;
        }
    }

    /// Tells the client of a refusal; when the client is gone there is nobody to tell.
    pub(crate) async fn refuse(mut self, refusal: &RefusalStatus) {
        let trailers = refusal_trailers(refusal);
        match self.state {
            State::Unanswered(_) => {
                let _ = self.answer_without_body(trailers);
            }
            State::Answering(body) => {
                let _ = body.end(trailers).await;
            }
            State::Answered => {}
        }
    }

    /// Gives the response headers, with a body to follow.
    fn begin(&mut self, content: &MessageContent) -> Result<(), ReaderGone> {
        let mut head = Response::new(());
        CallHeaders::write(content, head.headers_mut());
        let (responder, head) = self.head(head)?;
        self.state = State::Answering(responder.begin(head)?);
        Ok(())
    }

    /// A trailers-only answer: everything stands in the response headers.
    fn answer_without_body(&mut self, trailers: HeaderMap) -> Result<(), ReaderGone> {
        let mut head = Response::new(());
        *head.headers_mut() = trailers;
        let (responder, head) = self.head(head)?;
        responder.answer(head)
    }

    /// The head with the fields that every answer carries, and what gives it.
    fn head(&mut self, mut head: Response<()>) -> Result<(Responder, Response<()>), ReaderGone> {
        let headers = head.headers_mut();
        headers
            .entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/grpc"));
        self.fields.put(headers);
        match mem::replace(&mut self.state, State::Answered) {
            State::Unanswered(responder) => Ok((responder, head)),
            State::Answering(_) | State::Answered => Err(ReaderGone),
        }
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
