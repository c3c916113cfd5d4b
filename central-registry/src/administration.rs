//! The officers' door: a Unix socket that only its owner can open.

use std::{
    fs::{self, DirBuilder, Permissions},
    future::Future,
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use proto::administration::{
    ShowRegistryReply, ShowRegistryRequest, SubmitReply, SubmitRequest,
    central_registry_administration_server::{
        CentralRegistryAdministration, CentralRegistryAdministrationServer,
    },
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{Error, blob, registry::Registry};

/// The most bytes of a submission: one entry and its blobs.
pub(crate) const SUBMIT_LIMIT: usize = blob::ENTRY_LIMIT + 256 * 1024;
/// The most bytes of a shown state.
pub(crate) const SHOW_LIMIT: usize = 512 * 1024 * 1024;
/// How many submissions wait at a time on one connection.
const CONCURRENCY: usize = 16;
/// How long a submission may take.
const REQUEST_TIME: Duration = Duration::from_secs(60);

/// Binds the socket in place of one that a former process left behind. The log's lock makes sure
/// that there is no other registry.
pub(crate) fn bind(path: &Path) -> Result<UnixListener, Error> {
    let name = path.file_name().unwrap_or_default();
    let private = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    bind_within(&private, path).map_err(Error::file("listening on", path))
}

/// Binds inside a folder that only the owner may enter, so that nobody can connect before the
/// mode of the socket is set.
fn bind_within(private: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::remove_dir_all(private) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(private)?;
    let unfinished = private.join("socket");
    let listener = UnixListener::bind(&unfinished)?;
    fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
    fs::rename(&unfinished, path)?;
    fs::remove_dir(private)?;
    Ok(listener)
}

/// Answers officers until `end`.
pub(crate) async fn serve(
    listener: UnixListener,
    registry: Arc<Registry>,
    end: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let service = CentralRegistryAdministrationServer::new(Door(registry))
        .max_decoding_message_size(SUBMIT_LIMIT)
        .max_encoding_message_size(SHOW_LIMIT);
    Server::builder()
        .concurrency_limit_per_connection(CONCURRENCY)
        .timeout(REQUEST_TIME)
        .add_service(service)
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), end)
        .await
}

struct Door(Arc<Registry>);

#[tonic::async_trait]
impl CentralRegistryAdministration for Door {
    async fn show(
        &self,
        _: Request<ShowRegistryRequest>,
    ) -> Result<Response<ShowRegistryReply>, Status> {
        let (state, log_size) = self.0.view().await;
        Ok(Response::new(ShowRegistryReply {
            instance: state.instance().to_string(),
            log_size,
            state: state.to_snapshot().pairs,
        }))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitReply>, Status> {
        let SubmitRequest { changes, blobs } = request.into_inner();
        let changes = changes.ok_or_else(|| Status::invalid_argument("there are no changes"))?;
        // A task of its own: once begun, an entry is appended and folded, also when the officer
        // hangs up in between.
        let registry = Arc::clone(&self.0);
        let submitted = tokio::spawn(async move { registry.submit(changes, blobs).await });
        match submitted.await {
            Ok(Ok(index)) => Ok(Response::new(SubmitReply { index })),
            Ok(Err(error)) => Err(status_of(&error)),
            Err(_) => Err(Status::internal(
                "the submission broke off; look at the state",
            )),
        }
    }
}

fn status_of(error: &Error) -> Status {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match error {
        Error::Rejected(_) => Status::failed_precondition(text),
        Error::Append(verifiable_log::AppendError::DiskFull) => Status::resource_exhausted(text),
        _ => Status::unavailable(text),
    }
}
