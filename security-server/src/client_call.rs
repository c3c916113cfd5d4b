//! A call as a client system makes it: headers, statements, and the parts of its request.

use certs::Certificate;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use tokio::time::Instant;
use trust::{
    ExchangeId, MethodPath, Reason, Refusal, SubsystemId,
    content::{METADATA_ENTRIES_LIMIT, METADATA_LIMIT},
    header::{Statements, TEXT_LIMIT},
};

use crate::{
    call::{CallHeaders, Part},
    grpc::{
        budget::Budget,
        metadata,
        reader::{MessageReader, ReadError},
        timeout,
    },
    http2::received::ReceivedBody,
};

const REQUEST_ID: &str = "x-road-id";

/// How a client's connection says who it is.
#[derive(Debug, Clone)]
pub(crate) enum ConnectionIdentity {
    /// TLS, with the certificate that the client proved to have, if it showed one.
    Tls(Option<Certificate>),
    /// A plaintext listener of one subsystem.
    Listener(SubsystemId),
}

/// A call that has arrived and is not read yet.
pub(crate) struct ClientCall {
    pub(crate) identity: ConnectionIdentity,
    static_service: Option<SubsystemId>,
    path: String,
    headers: HeaderMap,
    is_grpc: bool,
    arrived: Instant,
}

impl ClientCall {
    /// Takes a request apart; the parts of its body come from the second value.
    pub(crate) fn new(
        request: http::Request<ReceivedBody>,
        identity: ConnectionIdentity,
        static_service: Option<SubsystemId>,
        budget: &Budget,
    ) -> (Self, ClientParts) {
        let (head, body) = request.into_parts();
        let parts = ClientParts {
            headers: Some(CallHeaders::from_headers(&head.headers)),
            messages: MessageReader::new(body, budget.clone()),
        };
        let call = Self {
            identity,
            static_service,
            is_grpc: is_grpc(&head),
            path: head
                .uri
                .path_and_query()
                .map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            arrived: Instant::now(),
        };
        (call, parts)
    }

    /// A call of nothing but headers.
    #[cfg(fuzzing)]
    pub(crate) fn of_headers(path: String, headers: HeaderMap) -> Self {
        Self {
            identity: ConnectionIdentity::Tls(None),
            static_service: None,
            path,
            headers,
            is_grpc: true,
            arrived: Instant::now(),
        }
    }

    /// When the client gives up.
    ///
    /// # Errors
    /// `InvalidMetadata` for a `grpc-timeout` that is none.
    pub(crate) fn deadline(&self) -> Result<Option<Instant>, Refusal> {
        let timeout = timeout::parse(&self.headers)?;
        // A deadline beyond what the clock can tell is none.
        Ok(timeout.and_then(|timeout| self.arrived.checked_add(timeout)))
    }

    /// Whether the call has no more fields than a message may carry; their size is bounded by the
    /// listener.
    ///
    /// # Errors
    /// `InvalidMetadata`.
    pub(crate) fn check_metadata(&self) -> Result<(), Refusal> {
        let refused = |what: String| Err(Refusal::new(Reason::InvalidMetadata, what));
        if self.headers.len() > METADATA_ENTRIES_LIMIT {
            let what = format!("the call has more than {METADATA_ENTRIES_LIMIT} metadata entries");
            return refused(what);
        }
        let size = metadata::list_size(&self.headers);
        if size > METADATA_LIMIT {
            return refused(format!(
                "the headers of the call measure {size} bytes, more than {METADATA_LIMIT}"
            ));
        }
        Ok(())
    }

    /// The method called.
    pub(crate) fn method(&self) -> Result<MethodPath, Refusal> {
        if !self.is_grpc {
            return Err(Refusal::new(
                Reason::InvalidPath,
                "a gRPC call is a POST with a content-type of application/grpc",
            ));
        }
        let parsed = MethodPath::parse(&self.path);
        parsed.map_err(|error| Refusal::new(Reason::InvalidPath, error.to_string()))
    }

    /// `x-road-client`, if the client says it.
    pub(crate) fn named_client(&self) -> Result<Option<SubsystemId>, Refusal> {
        match self.text("x-road-client")? {
            named if named.is_empty() => Ok(None),
            named => named
                .parse()
                .map(Some)
                .map_err(|error| invalid("x-road-client", &error)),
        }
    }

    /// `x-road-service`, or the static route of the listener. A fifth part names the gRPC service
    /// once more and must be that of the path.
    pub(crate) fn named_service(&self, method: &MethodPath) -> Result<SubsystemId, Refusal> {
        let named = self.text("x-road-service")?;
        if named.is_empty() {
            return self.static_service.clone().ok_or_else(|| {
                Refusal::new(Reason::InvalidMetadata, "the call has no x-road-service")
            });
        }
        let subsystem = match named.match_indices('/').nth(3) {
            None => named.as_str(),
            Some((fourth_slash, _)) => {
                let (subsystem, rest) = named.split_at(fourth_slash);
                if rest.strip_prefix('/') != Some(method.service()) {
                    return Err(Refusal::new(
                        Reason::InvalidMetadata,
                        format!(
                            "x-road-service names another gRPC service than the path, {}",
                            method.service()
                        ),
                    ));
                }
                subsystem
            }
        };
        subsystem
            .parse()
            .map_err(|error| invalid("x-road-service", &error))
    }

    /// What the caller says of itself and its reasons. A call without `x-road-id` is given the
    /// exchange's id.
    pub(crate) fn statements(&self, exchange: ExchangeId) -> Result<Statements, Refusal> {
        let request_id = self.text(REQUEST_ID)?;
        Ok(Statements {
            request_id: if request_id.is_empty() {
                exchange.to_string()
            } else {
                request_id
            },
            user: self.text("x-road-userid")?,
            case_number: self.text("x-road-issue")?,
            represented_party: self.text("x-road-represented-party")?,
            purpose: self.text("x-road-purpose")?,
            legal_basis: self.text("x-road-legal-basis")?,
        })
    }

    /// `x-road-id` as the client sent it, for the answer; empty when it sent none it can get back.
    pub(crate) fn request_id(&self) -> &str {
        let value = self
            .headers
            .get(REQUEST_ID)
            .and_then(|value| value.to_str().ok());
        value
            .filter(|text| text.len() <= TEXT_LIMIT)
            .unwrap_or_default()
    }

    /// Free text of one header: percent-encoded UTF-8 in ASCII, given once.
    fn text(&self, name: &'static str) -> Result<String, Refusal> {
        let refused = |what| {
            Err(Refusal::new(
                Reason::InvalidMetadata,
                format!("{name} {what}"),
            ))
        };
        let mut values = self.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Ok(String::new());
        };
        if values.next().is_some() {
            return refused("is given more than once");
        }
        let Ok(ascii) = value.to_str() else {
            return refused("is not percent-encoded UTF-8");
        };
        if !is_percent_encoded(ascii) {
            return refused("is not percent-encoded UTF-8");
        }
        match percent_decode_str(ascii).decode_utf8() {
            Ok(text) if text.len() <= TEXT_LIMIT => Ok(text.into_owned()),
            Ok(_) => refused("is longer than 1024 bytes"),
            Err(_) => refused("is not percent-encoded UTF-8"),
        }
    }
}

fn is_grpc(head: &http::request::Parts) -> bool {
    let content_type = metadata::text(&head.headers, "content-type");
    let rest = content_type.strip_prefix("application/grpc");
    let known = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';']));
    known && head.method == http::Method::POST
}

/// Whether every percent sign begins an escape.
fn is_percent_encoded(text: &str) -> bool {
    let mut escapes = text.split('%').skip(1);
    escapes.all(|rest| {
        rest.get(..2)
            .is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    })
}

fn invalid(name: &str, error: &trust::InvalidIdentifier) -> Refusal {
    Refusal::new(Reason::InvalidMetadata, format!("{name}: {error}"))
}

/// The parts of a client's request, in order.
pub(crate) struct ClientParts {
    headers: Option<CallHeaders>,
    messages: MessageReader<ReceivedBody>,
}

impl ClientParts {
    /// The next part. The first carries the headers of the call and comes without a message when
    /// the client waits for ours before it sends one.
    pub(crate) async fn next(&mut self) -> Result<Part, ReadError> {
        let headers = self.headers.take();
        if headers.is_some() && !self.messages.begins().await? {
            return Ok(Part {
                headers,
                ..Part::default()
            });
        }
        let message = self.messages.next().await?;
        let is_final = message.is_none() || self.messages.ends().await?;
        Ok(Part {
            headers,
            message,
            is_final,
            ending: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_always_begins_an_escape() {
        for text in ["", "birth", "birth%20registration", "%E1%BB%87", "100%25"] {
            assert!(is_percent_encoded(text), "{text}");
        }
        for text in ["%", "%z", "%zz", "100%", "a%2", "%%20", "%2é"] {
            assert!(!is_percent_encoded(text), "{text}");
        }
    }
}
