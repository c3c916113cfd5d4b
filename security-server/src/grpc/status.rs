//! gRPC status in HTTP headers: `grpc-status`, `grpc-message`, `grpc-status-details-bin`.

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use proto::refusal::RefusalStatus;

/// `grpc-status`
pub(crate) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-message`
pub(crate) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `grpc-status-details-bin`
pub(crate) const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// Senders may leave out the padding of base64 and receivers must take both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What `grpc-message` escapes: all but printable ASCII, and the percent sign.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The outcome of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// The code, 0 for OK.
    pub(crate) code: u32,
    /// The message in plain text.
    pub(crate) message: String,
    /// Decoded details.
    pub(crate) details: Bytes,
}

impl Status {
    /// Takes the status out of headers or trailers; none when there is no valid code.
    pub(crate) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let code = headers.remove(STATUS)?;
        let code: u32 = code.to_str().ok()?.parse().ok()?;
        let message = headers
            .remove(MESSAGE)
            .unwrap_or(HeaderValue::from_static(""));
        let message = percent_decode(message.as_bytes())
            .decode_utf8_lossy()
            .into_owned();
        let details = headers.remove(DETAILS);
        let details = details.and_then(|value| BASE64.decode(value.as_bytes()).ok());
        Some(Self {
            code,
            message,
            details: details.unwrap_or_default().into(),
        })
    }

    /// Puts the status into headers or trailers.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(STATUS, HeaderValue::from(self.code));
        if !self.message.is_empty() {
            let text = utf8_percent_encode(&self.message, ESCAPED).to_string();
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(MESSAGE, value);
            }
        }
        if !self.details.is_empty() {
            let text = BASE64.encode(&self.details);
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(DETAILS, value);
            }
        }
    }
}

/// The headers of a refusal that answers a call.
pub(crate) fn refusal_trailers(refusal: &RefusalStatus) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let status = Status {
        code: refusal.code,
        message: refusal.message.clone(),
        details: refusal.details.clone(),
    };
    status.put(&mut headers);
    for (name, value) in &refusal.trailers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_the_headers() {
        let status = Status {
            code: 7,
            message: "không được phép: 100 %\n".to_owned(),
            details: Bytes::from_static(b"\0\xff\x10"),
        };
        let mut headers = HeaderMap::new();
        status.put(&mut headers);
        assert!(headers[MESSAGE].to_str().is_ok());
        assert_eq!(Status::take(&mut headers).unwrap(), status);
        assert!(headers.is_empty());
    }

    #[test]
    fn both_paddings_of_details_are_understood() {
        assert_eq!(BASE64.decode(b"AA==").unwrap(), [0]);
        assert_eq!(BASE64.decode(b"AA").unwrap(), [0]);
    }
}
