//! Health of this server: `grpc.health.v1.Health/Check`, answered here and never forwarded.

use http::{Request, Response};
use hyper::body::Incoming;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::{
    grpc::{
        body::WrittenBody,
        unary::{answered, code, question, refused},
    },
    server::Server,
};

/// Where the paths of the health service begin.
pub(crate) const SERVICE_PREFIX: &str = "/grpc.health.v1.Health/";

const CHECK: &str = "Check";

/// The longest question.
const QUESTION_LIMIT: usize = 1024;

/// Says whether this server can serve: it has a valid configuration and its log takes records.
pub(crate) async fn answer(server: &Server, request: Request<Incoming>) -> Response<WrittenBody> {
    if request.uri().path().strip_prefix(SERVICE_PREFIX) != Some(CHECK) {
        let what = "this server offers the health check, and no watching";
        return refused(code::UNIMPLEMENTED, what);
    }
    let asked = question::<HealthCheckRequest>(request.into_body(), QUESTION_LIMIT).await;
    if let Err(refused) = asked {
        return refused;
    }
    let status = match server.ready() {
        Ok(()) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    };
    answered(&HealthCheckResponse {
        status: status.into(),
    })
    .await
}
