//! Calls of one message each way that a server answers or makes itself, beside the exchanges.

use std::{fmt::Display, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use prost::Message;
use tokio::time::timeout;

use super::{
    budget::Budget,
    reader::{MessageReader, ReadError},
    status::Status,
    writer::Chunk,
};
use crate::http2::{client::Connection, received::ReceivedBody, server::Responder};

/// How long a question may take to arrive.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// gRPC status codes of what is answered here (numbers of google.rpc.Code).
pub(crate) mod code {
    pub(crate) const OK: u32 = 0;
    pub(crate) const INVALID_ARGUMENT: u32 = 3;
    pub(crate) const NOT_FOUND: u32 = 5;
    pub(crate) const PERMISSION_DENIED: u32 = 7;
    pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(crate) const UNIMPLEMENTED: u32 = 12;
    pub(crate) const UNAVAILABLE: u32 = 14;
}

/// The one message of an answer, or the status that there is none.
pub(crate) type Answer = Result<Bytes, Status>;

/// Reads the one message of a question. Anybody may ask, so it has a budget and a time of its own.
///
/// # Errors
/// The answer to what is no question.
pub(crate) async fn question<Question: Message + Default>(
    body: ReceivedBody,
    limit: usize,
) -> Result<Question, Status> {
    let mut messages = MessageReader::new(body, Budget::new(limit, limit));
    let asked = timeout(QUESTION_TIMEOUT, messages.next()).await;
    let Ok(Ok(Some(message))) = asked else {
        return Err(refused(
            code::INVALID_ARGUMENT,
            "the question is one message",
        ));
    };
    Question::decode(message.bytes).map_err(|error| {
        let what = format!("the question does not parse: {error}");
        refused(code::INVALID_ARGUMENT, &what)
    })
}

/// The answer of one message.
pub(crate) fn answered(answer: &impl Message) -> Bytes {
    answer.encode_to_vec().into()
}

/// The answer that there is none.
pub(crate) fn refused(code: u32, what: &str) -> Status {
    Status {
        code,
        message: what.to_owned(),
        details: Bytes::new(),
    }
}

/// Gives an answer. Nobody is told when nobody waits for it.
pub(crate) async fn give(responder: Responder, answer: Answer) {
    let mut head = Response::new(());
    let value = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(header::CONTENT_TYPE, value);
    let message = match answer {
        Ok(message) => message,
        Err(status) => {
            status.put(head.headers_mut());
            let _ = responder.answer(head);
            return;
        }
    };
    let (Ok(mut writer), Ok(chunk)) = (responder.begin(head), Chunk::of(false, message)) else {
        return;
    };
    let mut trailers = HeaderMap::new();
    refused(code::OK, "").put(&mut trailers);
    if writer.write_last(chunk, Some(trailers)).await.is_ok() {
        let _ = writer.finish().await;
    }
}

/// Asks a question over a connection and reads the one answer, of at most `limit` bytes.
///
/// # Errors
/// In words, what was answered instead.
pub(crate) async fn ask<Answer: Message + Default>(
    connection: &mut Connection,
    authority: &str,
    path: &str,
    question: &impl Message,
    limit: usize,
) -> Result<Answer, String> {
    let call = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{authority}{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(())
        .map_err(words)?;
    let (mut writer, mut answering) = match connection.call(call).await {
        Ok(started) => started,
        Err(error) => return Err(connection.why(&error).await),
    };
    if let Ok(chunk) = Chunk::of(false, question.encode_to_vec().into()) {
        // Whoever does not read says why in the answer.
        let _ = writer.write_last(chunk, None).await;
        let _ = writer.finish().await;
    }
    let response = match answering.response().await {
        Ok(response) => response,
        Err(error) => return Err(answering.why(&error).await),
    };
    let (mut head, body) = response.into_parts();
    if let Some(status) = Status::take(&mut head.headers) {
        return Err(said(&status));
    }
    let mut messages = MessageReader::new(body, Budget::new(limit, limit));
    let answer = messages.next().await.map_err(|error| match error {
        ReadError::Refused(refusal) => refusal.explanation,
        ReadError::Lost(why) => why,
    })?;
    let Some(answer) = answer else {
        let status = messages.take_trailers();
        let status = status.and_then(|mut trailers| Status::take(&mut trailers));
        return Err(status.map_or_else(|| "it answered nothing".to_owned(), |status| said(&status)));
    };
    Answer::decode(answer.bytes).map_err(words)
}

fn said(status: &Status) -> String {
    format!("gRPC status {}: {}", status.code, status.message)
}

fn words(error: impl Display) -> String {
    error.to_string()
}
