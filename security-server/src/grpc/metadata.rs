//! Metadata between HTTP headers and message content: carried as it stood on the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use trust::wire::evidence::{Metadata, MetadataEntry};

/// Prefix of the fields that belong to the bus; a client's or adapter's own are never passed on.
pub(crate) const BUS_PREFIX: &str = "x-road-";

/// Headers that belong to one connection or are carried in fields of their own.
fn is_own(name: &HeaderName) -> bool {
    let connection = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::DATE,
        header::HOST,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::USER_AGENT,
    ];
    let calls = [
        "grpc-accept-encoding",
        "grpc-encoding",
        "grpc-message",
        "grpc-status",
        "grpc-status-details-bin",
        "grpc-timeout",
        "keep-alive",
        "proxy-connection",
    ];
    connection.contains(name)
        || calls.contains(&name.as_str())
        // Some frameworks read an underscore as a hyphen.
        || name.as_str().replace('_', "-").starts_with(BUS_PREFIX)
}

/// The application's metadata out of headers or trailers.
pub(crate) fn from_headers(headers: &HeaderMap) -> Metadata {
    let own = headers.iter().filter(|(name, _)| !is_own(name));
    let entries = own.map(|(name, value)| MetadataEntry {
        key: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    });
    Metadata {
        entries: entries.collect(),
    }
}

/// What headers measure as HTTP/2 counts them (RFC 9113, 10.5.1).
pub(crate) fn list_size(headers: &HeaderMap) -> usize {
    let sizes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32);
    sizes.sum()
}

/// Appends metadata to headers. What is no header, or not the application's, is left out: a peer
/// must not be able to set fields of the bus or of the connection.
pub(crate) fn append(metadata: &Metadata, headers: &mut HeaderMap) {
    for entry in &metadata.entries {
        let name = HeaderName::from_bytes(entry.key.as_bytes());
        let value = HeaderValue::from_maybe_shared(entry.value.clone());
        if let (Ok(name), Ok(value)) = (name, value)
            && !is_own(&name)
        {
            headers.append(name, value);
        }
    }
}

/// The text of a header, empty when absent or not text.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// Sets a header to a text unless it is empty or no header value.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text)
        && !text.is_empty()
    {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_bus_and_of_the_connection_never_pass() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-road-client",
            "x_road_client",
            "X-Road-Anything",
            "te",
            "content-type",
            "grpc-timeout",
            "a",
        ] {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                "v".parse().unwrap(),
            );
        }
        headers.append("a", "w".parse().unwrap());
        let metadata = from_headers(&headers);
        let keys: Vec<_> = metadata
            .entries
            .iter()
            .map(|entry| entry.key.as_str())
            .collect();
        assert_eq!(keys, ["a", "a"]);

        let hostile = ["x-road-client", "te", "bad name", "b"].map(|key| MetadataEntry {
            key: key.to_owned(),
            value: Bytes::from_static(b"v"),
        });
        let mut set = HeaderMap::new();
        append(
            &Metadata {
                entries: hostile.to_vec(),
            },
            &mut set,
        );
        assert_eq!(set.len(), 1);
        assert_eq!(set["b"], "v");
    }
}
