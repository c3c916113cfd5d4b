//! Health of this server: `grpc.health.v1.Health/Check`, answered here and never forwarded.

use http::Request;
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

use crate::{
    grpc::unary::{Answer, answered, code, question, refused},
    http2::received::ReceivedBody,
    server::Server,
};

/// Where the paths of the health service begin.
pub(crate) const SERVICE_PREFIX: &str = "/grpc.health.v1.Health/";

const CHECK: &str = "Check";

/// The longest question.
const QUESTION_LIMIT: usize = 1024;

/// Says whether this server can serve: it has a valid configuration and its log takes records.
pub(crate) async fn answer(server: &Server, request: Request<ReceivedBody>) -> Answer {
    if request.uri().path().strip_prefix(SERVICE_PREFIX) != Some(CHECK) {
        let what = "this server offers the health check, and no watching";
        return Err(refused(code::UNIMPLEMENTED, what));
    }
    question::<HealthCheckRequest>(request.into_body(), QUESTION_LIMIT).await?;
    let status = match server.ready() {
        Ok(()) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    };
    Ok(answered(&HealthCheckResponse {
        status: status.into(),
    }))
}
