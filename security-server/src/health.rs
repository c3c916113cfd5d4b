//! Health of this server: `grpc.health.v1.Health/Check`, answered here and never forwarded.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use prost::Message;
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};

use crate::{
    grpc::{
        body::{self, WrittenBody},
        budget::Budget,
        reader::MessageReader,
        status::Status,
    },
    server::Server,
};

/// Where the paths of the health service begin.
pub(crate) const SERVICE_PREFIX: &str = "/grpc.health.v1.Health/";

const CHECK: &str = "Check";

const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

const UNIMPLEMENTED: u32 = 12;

/// Says whether this server can serve: it has a valid configuration and its log takes records.
pub(crate) async fn answer(server: &Server, request: Request<Incoming>) -> Response<WrittenBody> {
    if request.uri().path().strip_prefix(SERVICE_PREFIX) != Some(CHECK) {
        return unimplemented("this server offers the health check, and no watching");
    }
    // Anybody may ask, so the question has a budget and a time of its own.
    let mut messages = MessageReader::new(request.into_body(), Budget::new(1024, 1024));
    let asked = tokio::time::timeout(QUESTION_TIMEOUT, messages.next()).await;
    if !matches!(asked, Ok(Ok(Some(_)))) {
        return refused(3, "a health check is one message");
    }
    let serving = server.configuration_in_force().is_ok() && server.recorder().takes_records();
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    let reply = HealthCheckResponse {
        status: status.into(),
    };
    let (writer, body) = body::channel();
    tokio::spawn(async move {
        let parts = [Bytes::from(reply.encode_to_vec()), Bytes::new()];
        if writer.message(false, parts, None).await.is_ok() {
            let mut trailers = http::HeaderMap::new();
            Status {
                code: 0,
                message: String::new(),
                details: Bytes::new(),
            }
            .put(&mut trailers);
            let _ = writer.trailers(trailers).await;
        }
    });
    grpc(Response::new(body))
}

/// An answer for calls that are not offered here.
pub(crate) fn unimplemented(what: &str) -> Response<WrittenBody> {
    refused(UNIMPLEMENTED, what)
}

fn refused(code: u32, what: &str) -> Response<WrittenBody> {
    let mut response = Response::new(WrittenBody::empty());
    Status {
        code,
        message: what.to_owned(),
        details: Bytes::new(),
    }
    .put(response.headers_mut());
    grpc(response)
}

fn grpc(mut response: Response<WrittenBody>) -> Response<WrittenBody> {
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
