//! The line that a connection runs over: whether the other end is still there, and what may be under way.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, sleep, timeout};

/// What the headers or trailers of a call may measure, unpacked, in bytes.
pub(super) const HEADER_LIST_LIMIT: u32 = 64 * 1024;

/// The flow-control window of a call (RFC 9113, 5.2), in bytes: what waits in it is memory beside the
/// budget. Of calls of a connection that comes a long way, perhaps: to and from other servers, and of
/// adapters. On a way of 30 ms and back one call then brings four megabytes a second.
pub(crate) const OF_SHARED: u32 = 128 * 1024;

/// That of a client system, which is near.
pub(crate) const OF_CLIENT: u32 = 64 * 1024;

/// The window of a whole connection: the largest there is. What waits is bounded by its calls; a window
/// that some could fill which wait for memory would hold up those that have it, and so all.
pub(super) const OF_CONNECTION: u32 = (1 << 31) - 1;

/// How a connection finds out that nobody is at its other end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Listening {
    /// After so much silence the other end is asked, and has as long to answer.
    Always(Duration),
    /// The same, but only while it has calls: gRPC servers take questions at other times amiss.
    WhileCalled(Duration),
    /// The system tells, since the other end is on this machine.
    Never,
}

/// What a connection and its calls know of their line.
#[derive(Clone)]
pub(crate) struct Line(Arc<State>);

struct State {
    opened: Instant,
    /// When something of a call was last heard, in milliseconds after that.
    heard: AtomicU64,
    calls: AtomicUsize,
}

/// A call on the line, until it is dropped.
pub(crate) struct OnLine(Line);

impl Line {
    /// Of a connection that is opened now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(State {
            opened: Instant::now(),
            heard: AtomicU64::new(0),
            calls: AtomicUsize::new(0),
        }))
    }

    /// One more call.
    pub(crate) fn enter(&self) -> OnLine {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        OnLine(self.clone())
    }

    /// Returns when the other end does not answer any more.
    pub(crate) async fn until_dead(self, listening: Listening, pings: Option<PingPong>) {
        let (patience, also_idle) = match listening {
            Listening::Always(patience) => (patience, true),
            Listening::WhileCalled(patience) => (patience, false),
            Listening::Never => return std::future::pending().await,
        };
        let Some(mut pings) = pings else {
            return std::future::pending().await;
        };
        loop {
            let quiet = patience.saturating_sub(self.silence());
            if !quiet.is_zero() {
                sleep(quiet).await;
            } else if also_idle || self.0.calls.load(Ordering::Relaxed) > 0 {
                let answered = timeout(patience, pings.ping(Ping::opaque())).await;
                if !matches!(answered, Ok(Ok(_))) {
                    return;
                }
                self.heard();
            } else {
                sleep(patience).await;
            }
        }
    }

    fn heard(&self) {
        let after = self.0.opened.elapsed().as_millis();
        let after = u64::try_from(after).unwrap_or(u64::MAX);
        self.0.heard.store(after, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.0.heard.load(Ordering::Relaxed));
        self.0.opened.elapsed().saturating_sub(heard)
    }
}

impl OnLine {
    /// Something of the call has arrived.
    pub(crate) fn heard(&self) {
        self.0.heard();
    }
}

impl Drop for OnLine {
    fn drop(&mut self) {
        self.0.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::{
        crowd::Crowd,
        http2::client::{Answering, Connection, open},
    };

    const PATIENCE: Duration = Duration::from_secs(15);
    const LONG: Duration = Duration::from_secs(3600);

    /// A connection whose other end never says anything.
    async fn silent(listening: Listening) -> (Connection, DuplexStream) {
        let (near, far) = duplex(1 << 16);
        let connection = open(near, listening, Crowd::nobody()).await.unwrap();
        (connection, far)
    }

    async fn called(connection: &Connection) -> Answering {
        let head = Request::post("http://localhost/a").body(()).unwrap();
        let (mut writer, answering) = connection.call(head).await.unwrap();
        writer.write_last(Default::default(), None).await.unwrap();
        answering
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_connection_with_calls() {
        let (connection, _far) = silent(Listening::WhileCalled(PATIENCE)).await;
        let mut answering = called(&connection).await;
        let began = Instant::now();
        assert!(answering.response().await.is_err());
        assert_eq!(began.elapsed().as_secs(), (PATIENCE + PATIENCE).as_secs());
        assert!(!connection.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_nothing_without_calls() {
        let (connection, _far) = silent(Listening::WhileCalled(PATIENCE)).await;
        drop(called(&connection).await);
        sleep(LONG).await;
        assert!(connection.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_who_is_on_this_machine() {
        let (connection, _far) = silent(Listening::Never).await;
        let mut answering = called(&connection).await;
        assert!(timeout(LONG, answering.response()).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_nobody_holds_is_closed() {
        let (connection, mut far) = silent(Listening::Never).await;
        let told = tokio::spawn(async move {
            let mut read = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut far, &mut read).await
        });
        drop(connection);
        told.await.unwrap().unwrap();
    }
}
