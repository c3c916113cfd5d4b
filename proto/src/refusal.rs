//! Refusals on the wire: gRPC status, `google.rpc.ErrorInfo` details and the `x-road-*` trailers.

use bytes::Bytes;
use prost::Message;
use tonic_types::{ErrorDetails, pb};
use trust::refusal::Statement;

/// Domain of the `ErrorInfo` in the details of a refusal.
pub const ERROR_DOMAIN: &str = "lienthong";

/// Trailer with the refusal's code.
pub const REFUSAL_TRAILER: &str = "x-road-refusal";
/// Trailer with who is at fault.
pub const FAULT_TRAILER: &str = "x-road-fault";
/// Trailer with the security server that refused.
pub const SERVER_TRAILER: &str = "x-road-server";

/// A refusal as the parts of a gRPC answer.
#[derive(Debug, Clone)]
pub struct RefusalStatus {
    /// gRPC status code.
    pub code: u32,
    /// Status message: the whole refusal in words.
    pub message: String,
    /// Encoded `google.rpc.Status` for `grpc-status-details-bin`.
    pub details: Bytes,
    /// The `x-road-*` trailers.
    pub trailers: [(&'static str, String); 3],
}

impl From<&Statement> for RefusalStatus {
    fn from(statement: &Statement) -> Self {
        let code = statement.status();
        let message = statement.to_string();
        let facts = [
            ("fault".to_owned(), statement.fault().name().to_owned()),
            ("server".to_owned(), statement.server.to_string()),
            (
                "remedy".to_owned(),
                statement.refusal.reason.remedy().to_owned(),
            ),
        ];
        let details = ErrorDetails::with_error_info(statement.code(), ERROR_DOMAIN, facts);
        Self {
            code,
            details: encode_details(code, &message, &details),
            message,
            trailers: [
                (REFUSAL_TRAILER, statement.code()),
                (FAULT_TRAILER, statement.fault().name().to_owned()),
                (SERVER_TRAILER, statement.server.to_string()),
            ],
        }
    }
}

fn encode_details(code: u32, message: &str, details: &ErrorDetails) -> Bytes {
    let info = details.error_info().map(|info| pb::ErrorInfo {
        reason: info.reason.clone(),
        domain: info.domain.clone(),
        metadata: info.metadata.clone(),
    });
    let any = info.map(|info| prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
        value: info.encode_to_vec(),
    });
    pb::Status {
        code: i32::try_from(code).unwrap_or(2),
        message: message.to_owned(),
        details: any.into_iter().collect(),
    }
    .encode_to_vec()
    .into()
}
