//! Fetches published files: bounded in size, and in time by what has arrived.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::{Instant, timeout_at};
use trust::{Reason, Refusal};

/// How long whoever publishes may be silent at first.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many bytes a second must then come, on average: a slow line is waited for.
const SLOWEST: usize = 128 * 1024;
/// How long a file may take in all. The sources are asked one after the other: none of them can hold
/// up the search for a newer configuration for longer.
const LONGEST: Duration = Duration::from_secs(600);

/// A client of those who publish.
pub(crate) struct Published {
    http: Client<HttpConnector, Empty<Bytes>>,
}

impl Published {
    pub(crate) fn new() -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Fetches a file that must be there.
    ///
    /// # Errors
    /// As [`Self::fetch`], and when it is not published.
    pub(crate) async fn required(&self, url: &str, limit: usize) -> Result<Bytes, Refusal> {
        self.fetch(url, limit)
            .await?
            .ok_or_else(|| Refusal::new(Reason::NoConfiguration, format!("{url} is not published")))
    }

    /// Fetches a file; none when there is none.
    ///
    /// # Errors
    /// `NoConfiguration`, with what went wrong: also when it is longer than `limit`, or comes slower
    /// than it may.
    pub(super) async fn fetch(&self, url: &str, limit: usize) -> Result<Option<Bytes>, Refusal> {
        let failed = |what: String| {
            Refusal::new(
                Reason::NoConfiguration,
                format!("{url} cannot be fetched: {what}"),
            )
        };
        let uri: http::Uri = url.parse().map_err(|error| failed(format!("{error}")))?;
        let begun = Instant::now();
        let response = timeout_at(begun + PATIENCE, self.http.get(uri))
            .await
            .map_err(|_| failed("no answer within 30 seconds".to_owned()))?
            .map_err(|error| failed(words(&error)))?;
        match response.status() {
            http::StatusCode::OK => {}
            http::StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(failed(format!("HTTP {status}"))),
        }
        let body = Limited::new(response.into_body(), limit);
        read(body, begun).await.map(Some).map_err(failed)
    }
}

/// Reads a body that does not come slower than it may.
async fn read<B>(mut body: B, begun: Instant) -> Result<Bytes, String>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let mut bytes = BytesMut::new();
    loop {
        let earned = Duration::from_secs((bytes.len() / SLOWEST) as u64);
        let due = begun + LONGEST.min(PATIENCE + earned);
        match timeout_at(due, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    bytes.extend_from_slice(&data);
                }
            }
            Ok(Some(Err(error))) => return Err(words(&*error.into())),
            Ok(None) => return Ok(bytes.freeze()),
            Err(_) => {
                let (so_far, took) = (bytes.len(), begun.elapsed().as_secs());
                return Err(format!("it comes too slowly: {so_far} bytes in {took} s"));
            }
        }
    }
}

/// The innermost words of an error, which say what happened.
fn words(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::time::sleep;
    use tokio_stream::{StreamExt, iter};

    use super::*;

    /// So many pieces of a length, with a pause before each.
    async fn read_pieces(pieces: usize, length: usize, pause: Duration) -> Result<Bytes, String> {
        let pieces = iter(0..pieces).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![7; length])))
        });
        read(StreamBody::new(Box::pin(pieces)), Instant::now()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_file_is_waited_for_while_it_comes() {
        let read = read_pieces(500, 140_000, Duration::from_secs(1)).await;
        assert_eq!(read.unwrap().len(), 500 * 140_000);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_holds_up_the_search_for_longer_than_ten_minutes() {
        let begun = Instant::now();
        let refused = read_pieces(1_000_000, 140_000, Duration::from_secs(1)).await;
        assert!(refused.unwrap_err().contains("too slowly"));
        assert_eq!(begun.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_a_little_now_and_then_is_not() {
        let begun = Instant::now();
        let refused = read_pieces(1_000_000, 1_000, Duration::from_secs(1)).await;
        assert!(refused.unwrap_err().contains("too slowly"));
        assert!(begun.elapsed() < Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_an_end() {
        let refused = read_pieces(2, 1_000_000, Duration::from_secs(3600)).await;
        assert!(refused.unwrap_err().contains(": 0 bytes in 30 s"));
    }
}
