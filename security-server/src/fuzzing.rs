//! The parsers of this server that nobody else calls, as fuzz targets call them.

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::runtime::Builder;
use trust::MethodPath;

use crate::{
    client_call::ClientCall,
    grpc::{
        budget::Budget,
        metadata::{self, BUS_PREFIX},
        reader::MessageReader,
        status::Status,
    },
    subjects,
};

/// The messages of a body that comes in these pieces, with their compressed flags, and whether
/// they were all.
#[must_use]
pub fn grpc_messages(pieces: Vec<Vec<u8>>, limit: usize) -> (Vec<(bool, Vec<u8>)>, bool) {
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, std::io::Error>(Frame::data(piece.into())));
    let body = StreamBody::new(stream::iter(frames));
    let mut reader = MessageReader::new(body, Budget::new(limit, limit));
    let mut messages = Vec::new();
    let reading = async {
        loop {
            match reader.next().await {
                Ok(Some(message)) => messages.push((message.compressed, message.bytes.to_vec())),
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    };
    let runtime = Builder::new_current_thread().enable_time().build();
    let ended = runtime.is_ok_and(|runtime| runtime.block_on(reading));
    (messages, ended)
}

/// Asks a call for all that its headers say: its path on the first line, then `name: value`.
///
/// # Panics
/// When what would be passed on holds a field of the bus.
pub fn call(text: &[u8]) {
    let mut lines = text.splitn(2, |byte| *byte == b'\n');
    let path = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let headers = headers(lines.next().unwrap_or_default());
    let passed = metadata::from_headers(&headers);
    let mut again = HeaderMap::new();
    metadata::append(&passed, &mut again);
    assert_eq!(
        again.len(),
        passed.entries.len(),
        "what came as headers is headers again"
    );
    assert_eq!(metadata::from_headers(&again), passed);
    let is_own = |name: &HeaderName| name.as_str().replace('_', "-").starts_with(BUS_PREFIX);
    assert!(!again.keys().any(is_own));

    let call = ClientCall::of_headers(path, headers);
    let _ = (
        call.deadline(),
        call.check_metadata(),
        call.named_client(),
        call.request_id(),
    );
    if let Ok(method) = call.method() {
        let _ = call.named_service(&method);
    }
    if let Ok(exchange) = "0195f0a2-7c00-7abc-8def-0123456789ab".parse() {
        let _ = call.statements(exchange);
    }
}

/// Takes a status out of headers, puts it into others and takes it out of them.
///
/// # Panics
/// When it is another one then.
pub fn status(text: &[u8]) {
    if let Some(status) = Status::take(&mut headers(text)) {
        let mut headers = HeaderMap::new();
        status.put(&mut headers);
        assert_eq!(Status::take(&mut headers), Some(status));
        assert!(headers.is_empty());
    }
}

fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(1000) {
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = Bytes::copy_from_slice(value.strip_prefix(b": ").unwrap_or_default());
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_maybe_shared(value),
        ) {
            headers.append(name, value);
        }
    }
    headers
}

/// Whom a message is about, by a descriptor set: how many are named, and whether that are all.
/// None if the descriptor set is none or does not have the method.
#[must_use]
pub fn subjects(descriptors: &[u8], method: &MethodPath, message: &[u8]) -> Option<(usize, bool)> {
    subjects::fuzzed(descriptors, method, message)
}
