//! An HTTP body that is written message by message, with backpressure, from another task.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::mpsc;

use super::budget::Share;

/// The most that is handed to the connection at once, so that memory stays with the budget.
const PIECE: usize = 64 * 1024;

/// How long a body waits for its reader to take the end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The stream was given up by its writer: the connection resets it.
#[derive(Debug, thiserror::Error)]
#[error("the call was given up")]
pub(crate) struct GivenUp;

enum Item {
    /// One message in up to two parts, and the memory it holds.
    Message([Bytes; 2], Option<Share>),
    Trailers(HeaderMap),
    End,
}

/// The writing end.
pub(crate) struct BodyWriter {
    items: mpsc::Sender<Item>,
}

/// The body itself; handed to the connection.
pub(crate) struct WrittenBody {
    items: mpsc::Receiver<Item>,
    parts: [Bytes; 2],
    share: Option<Share>,
    ended: bool,
}

/// A body and its writer. At most one message waits between them.
pub(crate) fn channel() -> (BodyWriter, WrittenBody) {
    let (sender, receiver) = mpsc::channel(1);
    let body = WrittenBody {
        items: receiver,
        parts: [Bytes::new(), Bytes::new()],
        share: None,
        ended: false,
    };
    (BodyWriter { items: sender }, body)
}

/// The connection, or whoever reads from it, is gone.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl BodyWriter {
    /// Writes one gRPC message that stands in `parts`; waits until the one before it was taken.
    pub(crate) async fn message(
        &self,
        compressed: bool,
        parts: [Bytes; 2],
        share: Option<Share>,
    ) -> Result<(), ReaderGone> {
        let [first, second] = parts;
        let length = u32::try_from(first.len() + second.len()).map_err(|_| ReaderGone)?;
        let mut lead = BytesMut::with_capacity(5 + if second.is_empty() { 0 } else { first.len() });
        lead.put_u8(compressed.into());
        lead.put_u32(length);
        let parts = if second.is_empty() {
            [lead.freeze(), first]
        } else {
            lead.extend_from_slice(&first);
            [lead.freeze(), second]
        };
        self.items
            .send(Item::Message(parts, share))
            .await
            .map_err(|_| ReaderGone)
    }

    /// Ends the body with trailers; a reader that does not read for long is given up.
    pub(crate) async fn trailers(self, trailers: HeaderMap) -> Result<(), ReaderGone> {
        self.finish(Item::Trailers(trailers)).await
    }

    /// Ends the body. Dropping the writer without it resets the stream.
    pub(crate) async fn end(self) -> Result<(), ReaderGone> {
        self.finish(Item::End).await
    }

    async fn finish(self, item: Item) -> Result<(), ReaderGone> {
        match tokio::time::timeout(END_TIMEOUT, self.items.send(item)).await {
            Ok(sent) => sent.map_err(|_| ReaderGone),
            Err(_) => Err(ReaderGone),
        }
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn reader_gone(&self) {
        self.items.closed().await;
    }
}

impl WrittenBody {
    /// A body with nothing in it.
    pub(crate) fn empty() -> Self {
        let (_, mut body) = channel();
        body.ended = true;
        body
    }

    /// A body that breaks off: the stream is reset.
    pub(crate) fn given_up() -> Self {
        channel().1
    }

    fn piece(&mut self) -> Option<Bytes> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        Some(part.split_to(part.len().min(PIECE)))
    }
}

impl Body for WrittenBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        if let Some(piece) = self.piece() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        self.share = None;
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.items.poll_recv(context)) {
            Some(Item::Message(parts, share)) => {
                self.parts = parts;
                self.share = share;
                Poll::Ready(self.piece().map(|piece| Ok(Frame::data(piece))))
            }
            Some(Item::Trailers(trailers)) => {
                self.ended = true;
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Some(Item::End) => {
                self.ended = true;
                Poll::Ready(None)
            }
            None => {
                self.ended = true;
                Poll::Ready(Some(Err(GivenUp)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.parts.iter().all(Bytes::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_given_up_does_not_end_well() {
        let (writer, mut body) = channel();
        writer
            .message(false, [Bytes::from("a"), Bytes::new()], None)
            .await
            .unwrap();
        drop(writer);
        let mut read = Vec::new();
        let mut failed = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap()),
                Err(GivenUp) => failed = true,
            }
        }
        assert_eq!(read, b"\0\0\0\0\x01a");
        assert!(failed);
    }

    #[tokio::test]
    async fn two_parts_make_one_message() {
        let (writer, body) = channel();
        let writing = tokio::spawn(async move {
            let large = Bytes::from(vec![7; 3 * PIECE + 1]);
            writer
                .message(true, [Bytes::from("ab"), large], None)
                .await
                .unwrap();
            writer.end().await.unwrap();
        });
        let read = body.collect().await.unwrap().to_bytes();
        assert_eq!(read.len(), 5 + 2 + 3 * PIECE + 1);
        assert_eq!(&read[..7], [1, 0, 3, 0, 3, b'a', b'b']);
        writing.await.unwrap();
    }
}
