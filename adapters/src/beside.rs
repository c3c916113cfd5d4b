//! What every service answers beside its methods: health, reflection, and that it has no other method.

use axum::{Router, http::Uri};
use tonic::{Status, service::Routes};
use tonic_health::server::{HealthReporter, health_reporter};
use tonic_reflection::server::{Builder, Error as ReflectionError};

use crate::error::Error;

/// The routes, to which the methods are added, and what says whether the service can serve.
///
/// # Errors
/// When the descriptor set is none.
pub(crate) fn beside(descriptors: &[u8]) -> Result<(Router, HealthReporter), Error> {
    let (reporter, health) = health_reporter();
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: ReflectionError| Error::Serve(Box::new(error));
    let router = Routes::new(health)
        .add_service(reflection().build_v1().map_err(failed)?)
        // Clients in other languages still ask by this name.
        .add_service(reflection().build_v1alpha().map_err(failed)?)
        .into_axum_router()
        .fallback(async |uri: Uri| no_such_method(uri.path()).into_http::<tonic::body::Body>());
    Ok((router, reporter))
}

/// For a path that the service does not have, or has not any more.
pub(crate) fn no_such_method(path: &str) -> Status {
    Status::unimplemented(format!(
        "there is no method {path:?} here; reflection names those that there are"
    ))
}
