//! The provider of every chain: gives each unary message back as it came, on one thread.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    net::SocketAddr,
    thread,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_stream::Iter;

use crate::{Error, benchmark::WINDOW};

/// Serves until standard input ends; the first line on standard output is the address.
///
/// # Errors
/// When it cannot listen.
pub async fn serve() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(listener.local_addr()?)?;
    let (lifeline, mut ended) = oneshot::channel::<()>();
    thread::spawn(move || {
        let _lifeline = lifeline;
        // However that ends, whoever started us is gone.
        let _ = io::stdin().read(&mut [0]);
    });
    tokio::select! {
        never = accept(listener) => never,
        _ = &mut ended => Ok(()),
    }
}

#[allow(
    clippy::print_stdout,
    reason = "whoever started this program reads the address"
)]
fn announce(address: SocketAddr) -> Result<(), Error> {
    println!("{address}");
    io::stdout().flush()?;
    Ok(())
}

async fn accept(listener: TcpListener) -> Result<(), Error> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream));
    }
}

async fn converse(stream: TcpStream) {
    let service = service_fn(|request: Request<Incoming>| answer(request));
    // A connection that breaks shows as failed calls.
    let _ = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(4096)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Frames = StreamBody<Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

/// The parts of the message go back as they came, once all of them are there.
async fn answer(request: Request<Incoming>) -> Result<Response<Frames>, hyper::Error> {
    let mut request = request.into_body();
    let mut frames = Vec::new();
    while let Some(frame) = request.frame().await {
        // An empty part, as may stand at the end, tells nothing; many of them look like an attack.
        if let Ok(part) = frame?.into_data()
            && !part.is_empty()
        {
            frames.push(Ok(Frame::data(part)));
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    frames.push(Ok(Frame::trailers(trailers)));
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)));
    let content_type = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
