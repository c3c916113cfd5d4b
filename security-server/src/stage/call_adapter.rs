//! Calls the adapter with recorded requests; gives the parts of its reply.

use http::{HeaderMap, HeaderName, Method, Request, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::Instant;
use trust::{Reason, Refusal, content::STATUS_LIMIT, header::Header, wire::evidence::Metadata};

use super::{
    authorise::{AuthorisedOpening, AuthorisedRequest},
    record::Recorded,
    verify::Verified,
};
use crate::{
    call::{CallHeaders, Part},
    exchange::Provision,
    grpc::{
        budget::Budget,
        metadata,
        reader::{MessageReader, ReadError},
        status::Status,
        timeout,
        writer::{Chunk, MessageWriter, Unread},
    },
    http2::{client, received::ReceivedBody},
    interruption::Interruption,
    server::Server,
};

/// What free text escapes in metadata: everything that is not printable ASCII, and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The requests' way to the adapter.
pub(crate) struct ToAdapter {
    writer: MessageWriter,
    opening: Option<Verified>,
}

/// The adapter's reply, in parts.
pub(crate) struct FromAdapter {
    state: ReplyState,
}

enum ReplyState {
    /// Headers have arrived and are not given yet.
    Opening(Option<Box<CallHeaders>>, MessageReader<ReceivedBody>),
    /// An answer without body: its status and trailers are all there is.
    TrailersOnly(Option<(Status, Metadata)>),
}

/// The response of the adapter, under way.
pub(crate) struct Answering {
    answering: client::Answering,
    budget: Budget,
}

impl Server {
    /// Calls the adapter with the recorded first request. Requests and reply are carried apart from
    /// here on, since an adapter may wait for more requests before it answers.
    ///
    /// # Errors
    /// `AdapterUnreachable`.
    pub(crate) async fn call_adapter(
        &self,
        exchange: &Provision,
        opening: Recorded<AuthorisedOpening>,
    ) -> Result<(ToAdapter, Answering), Refusal> {
        let AuthorisedOpening { request, right, .. } = opening.message;
        let service = exchange.service.as_ref().ok_or_else(|| {
            Refusal::new(Reason::UnknownService, "the service is not hosted here")
        })?;
        let connection = self.adapters().to(&service.adapter).await?;
        let mut call = Request::new(());
        *call.method_mut() = Method::POST;
        *call.uri_mut() = format!("http://adapter{}", exchange.parties.method)
            .parse()
            .map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
        *call.headers_mut() = call_headers(exchange, &request, &right.id);
        let (writer, answering) = connection.call(call).await.map_err(broke_off)?;
        let to_adapter = ToAdapter {
            writer,
            opening: Some(request),
        };
        let answering = Answering {
            answering,
            budget: self.budgets().from_adapters.clone(),
        };
        Ok((to_adapter, answering))
    }
}

impl Answering {
    /// The response, up to its body.
    ///
    /// # Errors
    /// `AdapterFailed` when it is no gRPC answer.
    pub(crate) async fn response(mut self) -> Result<FromAdapter, Refusal> {
        let response = self.answering.response().await.map_err(broke_off)?;
        let (head, body) = response.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(failed(format!(
                "the adapter answered with HTTP {}",
                head.status
            )));
        }
        let mut headers = head.headers;
        Ok(FromAdapter {
            state: match ending_of(&mut headers)? {
                Some(ending) => ReplyState::TrailersOnly(Some(ending)),
                None => ReplyState::Opening(
                    Some(Box::new(CallHeaders::from_headers(&headers))),
                    MessageReader::new(body, self.budget),
                ),
            },
        })
    }
}

impl ToAdapter {
    /// Sends the recorded first request to the adapter.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(crate) async fn send_opening(&mut self) -> Result<(), Interruption> {
        match self.opening.take() {
            Some(request) => self.send_verified(request).await,
            None => Ok(()),
        }
    }

    /// Sends a recorded request to the adapter. When the adapter no longer reads, its reply says
    /// why.
    ///
    /// # Errors
    /// `AdapterFailed` when the adapter reads nothing while others wait.
    pub(crate) async fn send(
        &mut self,
        request: Recorded<AuthorisedRequest>,
    ) -> Result<(), Interruption> {
        self.send_verified(request.message.request).await
    }

    async fn send_verified(&mut self, request: Verified) -> Result<(), Interruption> {
        let is_final = request.message.header().is_final;
        let chunk = match request.content.message {
            Some(message) => Chunk::of(request.content.compressed, message),
            None if is_final => Ok(Chunk::default()),
            None => return Ok(()),
        };
        let Ok(chunk) = chunk else { return Ok(()) };
        let chunk = chunk.holding(Some(request.share));
        match self.writer.write_request(chunk, is_final).await {
            Ok(()) | Err(Unread::Gone) => Ok(()),
            Err(Unread::Stalled) => {
                Err(failed("the adapter does not read the request, and others wait").into())
            }
        }
    }
}

impl FromAdapter {
    /// The next part of the reply; the final one carries the status.
    ///
    /// # Errors
    /// `AdapterFailed` when the reply does not end as gRPC demands, `MessageTooLarge`, `Busy`.
    pub(crate) async fn next(&mut self) -> Result<Part, Refusal> {
        match &mut self.state {
            ReplyState::TrailersOnly(ending) => Ok(Part {
                is_final: true,
                ending: ending.take(),
                ..Part::default()
            }),
            ReplyState::Opening(headers, messages) => {
                let headers = headers.take().map(|headers| *headers);
                if headers.is_some() && !messages.begins().await.map_err(broken)? {
                    return Ok(Part {
                        headers,
                        ..Part::default()
                    });
                }
                let message = messages.next().await.map_err(broken)?;
                let is_final = message.is_none() || messages.ends().await.map_err(broken)?;
                let ending = if is_final {
                    Some(final_ending(messages)?)
                } else {
                    None
                };
                Ok(Part {
                    headers,
                    message,
                    is_final,
                    ending,
                })
            }
        }
    }
}

fn final_ending(messages: &mut MessageReader<ReceivedBody>) -> Result<(Status, Metadata), Refusal> {
    let mut trailers = messages.take_trailers().unwrap_or_default();
    let ending = ending_of(&mut trailers)?;
    ending.ok_or_else(|| failed("the adapter ended its reply without a status"))
}

fn ending_of(headers: &mut HeaderMap) -> Result<Option<(Status, Metadata)>, Refusal> {
    let Some(status) = Status::take(headers) else {
        return Ok(None);
    };
    let size = status.message.len() + status.details.len();
    if size > STATUS_LIMIT {
        return Err(failed(format!(
            "status message and details of the adapter measure {size} bytes, more than {STATUS_LIMIT}"
        )));
    }
    Ok(Some((status, metadata::from_headers(headers))))
}

fn broken(error: ReadError) -> Refusal {
    match error {
        ReadError::Refused(refusal) if refusal.reason == Reason::MalformedMessage => {
            failed(refusal.explanation)
        }
        ReadError::Refused(refusal) => refusal,
        ReadError::Lost(why) => {
            tracing::warn!(why, "the adapter broke off");
            failed("the adapter broke off in the middle of its reply")
        }
    }
}

fn broke_off(error: h2::Error) -> Refusal {
    tracing::warn!(%error, "the adapter broke off");
    failed("the adapter broke off before it answered")
}

fn failed(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::AdapterFailed, what)
}

/// The headers of the call to the adapter: the client's own, and the bus's from the verified header.
fn call_headers(exchange: &Provision, request: &Verified, right: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    CallHeaders::write(&request.content, &mut headers);
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(http::HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    if let Some(deadline) = exchange.deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        metadata::set(
            &mut headers,
            HeaderName::from_static("grpc-timeout"),
            &timeout::format(left),
        );
    }
    put_caller(request.message.header(), right, &mut headers);
    headers
}

/// The verified caller, for the adapter's own decisions and logs.
fn put_caller(verified: &Header, right: &str, headers: &mut HeaderMap) {
    let parties = &verified.parties;
    let statements = &verified.statements;
    let exchange = parties.exchange.to_string();
    for (name, text) in [
        ("x-road-client", parties.client.as_str()),
        ("x-road-service", parties.service.as_str()),
        ("x-road-exchange-id", &exchange),
        ("x-road-id", &statements.request_id),
        ("x-road-userid", &statements.user),
        ("x-road-issue", &statements.case_number),
        ("x-road-represented-party", &statements.represented_party),
        ("x-road-purpose", &statements.purpose),
        ("x-road-legal-basis", &statements.legal_basis),
        ("x-road-access-right", right),
    ] {
        let escaped = utf8_percent_encode(text, ESCAPED).to_string();
        metadata::set(headers, HeaderName::from_static(name), &escaped);
    }
}
