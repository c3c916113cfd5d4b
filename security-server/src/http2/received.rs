//! The body of a request or response as it arrives.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::line::OnLine;

/// A body that is read from its connection. Dropped before its end, it is not sent any further.
pub(crate) struct ReceivedBody {
    stream: RecvStream,
    line: OnLine,
}

impl ReceivedBody {
    pub(crate) const fn new(stream: RecvStream, line: OnLine) -> Self {
        Self { stream, line }
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.stream.poll_data(context)) {
            Some(Ok(data)) => {
                self.line.heard();
                self.stream.flow_control().release_capacity(data.len())?;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            // Also when it is reset without an error: what ended well before is read to its end.
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => {
                let trailers: Option<HeaderMap> = ready!(self.stream.poll_trailers(context))?;
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
