//! The published files over plain HTTP: read-only, bounded, with the right lifetimes for caches.
//!
//! No TLS: every file is verified from the anchor, so whoever carries it need not be trusted.

use std::{
    convert::Infallible,
    future::Future,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tower::{ServiceExt, service_fn};
use tower_http::services::ServeDir;

/// How long a connection may take to send the head of a request, also the next one.
const REQUEST_TIME: Duration = Duration::from_secs(15);
/// How long a connection lives, whatever it does: a slow reader does not hold its place for ever.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// How long open connections may finish when the server ends.
const FINISH_TIME: Duration = Duration::from_secs(1);
/// How long to wait after a failed accept (no file descriptors left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the files of a folder until `end`.
pub(crate) async fn serve(
    listener: TcpListener,
    public: &Path,
    connections: usize,
    end: impl Future<Output = ()>,
) {
    let router = Router::new().fallback_service(files(public.to_owned()));
    let places = Arc::new(Semaphore::new(connections));
    let mut end = pin!(end);
    loop {
        // A place first: without one, connections wait in the queue of the system.
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut end => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection for published files was not accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = u32::try_from(connections).unwrap_or(u32::MAX);
    // Whoever is not done by then is cut off.
    let _ = timeout(FINISH_TIME, places.acquire_many(all)).await;
}

/// Answers the requests of one connection.
async fn converse(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(
        router.map_request(|request: http::Request<Incoming>| request.map(Body::new)),
    );
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a connection for published files ended: {error}"),
        Err(_) => tracing::debug!("a connection for published files was cut: it took too long"),
    }
}

/// The files as a service that never fails.
fn files(
    public: PathBuf,
) -> impl tower::Service<
    Request,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone
+ Send
+ Sync
+ 'static {
    let files = ServeDir::new(public).append_index_html_on_directories(false);
    service_fn(move |request: Request| {
        let files = files.clone();
        async move {
            let path = request.uri().path().to_owned();
            // Files that are being made have a name with a dot; no name needs an escape.
            if path.contains('%') || path.split('/').any(|part| part.starts_with('.')) {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::NOT_FOUND;
                return Ok(finished(&path, answer));
            }
            let answer = match files.oneshot(request).await {
                Ok(answer) => answer.map(Body::new),
                Err(never) => match never {},
            };
            Ok(finished(&path, answer))
        }
    })
}

/// Sets the headers that all answers have.
fn finished(path: &str, mut answer: Response) -> Response {
    let found = answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED;
    let lifetime = if found && is_immutable(path) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let headers = answer.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, lifetime);
    set(header::CONTENT_TYPE, "application/octet-stream");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    answer
}

/// Whether the file of this path never changes once it is there.
fn is_immutable(path: &str) -> bool {
    ["/tile/", "/entries/", "/blob/", "/snapshot/", "/root/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}
