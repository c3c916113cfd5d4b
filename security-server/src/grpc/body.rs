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

/// What is copied rather than written apart: a frame of its own costs more than the copy.
const COPIED: usize = 8 * 1024;

/// How long a body waits for its reader to take the end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The stream was given up by its writer: the connection resets it.
#[derive(Debug, thiserror::Error)]
#[error("the call was given up")]
pub(crate) struct GivenUp;

/// How a body ends.
enum Ending {
    Plain,
    Trailers(HeaderMap),
}

struct Item {
    chunk: Chunk,
    ending: Option<Ending>,
}

/// gRPC messages that are written together, and the memory they hold.
#[derive(Default)]
pub(crate) struct Chunk {
    lead: BytesMut,
    /// The end of the last message, when it is too large to be copied.
    rest: Bytes,
    share: Option<Share>,
}

impl Chunk {
    /// One message.
    pub(crate) fn of(compressed: bool, message: Bytes) -> Result<Self, ReaderGone> {
        Self::default().and(compressed, &[], message)
    }

    /// What is here, and one more message, which stands in two parts.
    pub(crate) fn and(
        mut self,
        compressed: bool,
        first: &[u8],
        second: Bytes,
    ) -> Result<Self, ReaderGone> {
        let length = u32::try_from(first.len() + second.len()).map_err(|_| ReaderGone)?;
        let copied = second.len() <= COPIED;
        let room = self.rest.len() + 5 + first.len() + if copied { second.len() } else { 0 };
        self.lead.reserve(room);
        self.lead.extend_from_slice(&self.rest);
        self.lead.put_u8(compressed.into());
        self.lead.put_u32(length);
        self.lead.extend_from_slice(first);
        self.rest = if copied {
            self.lead.extend_from_slice(&second);
            Bytes::new()
        } else {
            second
        };
        Ok(self)
    }

    /// The same, holding this memory until it is written.
    pub(crate) fn holding(self, share: Option<Share>) -> Self {
        Self { share, ..self }
    }
}

/// The writing end.
pub(crate) struct BodyWriter {
    items: mpsc::Sender<Box<Item>>,
}

/// The body itself; handed to the connection.
pub(crate) struct WrittenBody {
    items: mpsc::Receiver<Box<Item>>,
    parts: [Bytes; 2],
    share: Option<Share>,
    ending: Option<Ending>,
    ended: bool,
}

/// A body and its writer. At most one chunk waits between them.
pub(crate) fn channel() -> (BodyWriter, WrittenBody) {
    // Boxed, since the channel holds room for many items however few may wait.
    let (sender, receiver) = mpsc::channel(1);
    let body = WrittenBody {
        items: receiver,
        parts: [Bytes::new(), Bytes::new()],
        share: None,
        ending: None,
        ended: false,
    };
    (BodyWriter { items: sender }, body)
}

/// The connection, or whoever reads from it, is gone.
#[derive(Debug)]
pub(crate) struct ReaderGone;

impl BodyWriter {
    /// Writes a chunk; waits until the one before it was taken. The first never waits.
    pub(crate) async fn write(&self, chunk: Chunk) -> Result<(), ReaderGone> {
        let item = Item {
            chunk,
            ending: None,
        };
        self.items
            .send(Box::new(item))
            .await
            .map_err(|_| ReaderGone)
    }

    /// Writes the last chunk and ends the body with it, so that one packet carries both; with
    /// trailers, if there are any. Nothing may be written after that.
    pub(crate) async fn write_last(
        &self,
        chunk: Chunk,
        trailers: Option<HeaderMap>,
    ) -> Result<(), ReaderGone> {
        let ending = Some(trailers.map_or(Ending::Plain, Ending::Trailers));
        let item = Item { chunk, ending };
        self.items
            .send(Box::new(item))
            .await
            .map_err(|_| ReaderGone)
    }

    /// Ends the body with trailers; a reader that does not read for long is given up.
    pub(crate) async fn trailers(self, trailers: HeaderMap) -> Result<(), ReaderGone> {
        self.finish(Some(trailers)).await
    }

    /// Ends the body. Dropping the writer without it resets the stream.
    pub(crate) async fn end(self) -> Result<(), ReaderGone> {
        self.finish(None).await
    }

    async fn finish(self, trailers: Option<HeaderMap>) -> Result<(), ReaderGone> {
        let written = self.write_last(Chunk::default(), trailers);
        match tokio::time::timeout(END_TIMEOUT, written).await {
            Ok(written) => written,
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

    /// The body once something stands in it, so that what goes before it can go with it.
    pub(crate) async fn begun(mut self) -> Self {
        if let Some(item) = self.items.recv().await {
            self.take(*item);
        }
        self
    }

    fn take(&mut self, item: Item) {
        let Chunk { lead, rest, share } = item.chunk;
        self.parts = [lead.freeze(), rest];
        self.share = share;
        self.ending = item.ending;
        self.end_if_plain();
    }

    fn piece(&mut self) -> Option<Bytes> {
        let part = self.parts.iter_mut().find(|part| !part.is_empty())?;
        let piece = part.split_to(part.len().min(PIECE));
        self.end_if_plain();
        Some(piece)
    }

    /// The connection asks with the last piece whether it is the last.
    fn end_if_plain(&mut self) {
        let is_plain = matches!(self.ending, Some(Ending::Plain));
        if is_plain && self.parts.iter().all(Bytes::is_empty) {
            self.ended = true;
        }
    }
}

impl Body for WrittenBody {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        loop {
            if let Some(piece) = self.piece() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            self.share = None;
            if let Some(Ending::Trailers(trailers)) = self.ending.take() {
                self.ended = true;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.items.poll_recv(context)) {
                Some(item) => self.take(*item),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(GivenUp)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn one(message: &'static [u8]) -> Chunk {
        Chunk::of(false, Bytes::from_static(message)).unwrap()
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_does_not_end_well() {
        let (writer, mut body) = channel();
        writer.write(one(b"a")).await.unwrap();
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
            let chunk = Chunk::default().and(true, b"ab", large).unwrap();
            writer.write(chunk).await.unwrap();
            writer.end().await.unwrap();
        });
        let read = body.collect().await.unwrap().to_bytes();
        assert_eq!(read.len(), 5 + 2 + 3 * PIECE + 1);
        assert_eq!(&read[..7], [1, 0, 3, 0, 3, b'a', b'b']);
        writing.await.unwrap();
    }

    #[tokio::test]
    async fn messages_of_one_chunk_are_read_one_after_the_other() {
        for length in [3, COPIED, COPIED + 1] {
            let (writer, body) = channel();
            let second = Bytes::from(vec![7; length]);
            let chunk = one(b"first").and(false, b"se", second).unwrap();
            writer.write_last(chunk, None).await.unwrap();
            let read = body.collect().await.unwrap().to_bytes();
            assert_eq!(&read[..12], b"\0\0\0\0\x05first\0\0");
            assert_eq!(read.len(), 10 + 5 + 2 + length);
        }
    }

    #[tokio::test]
    async fn the_end_goes_with_the_last_piece() {
        let (writer, body) = channel();
        writer.write_last(one(b"a"), None).await.unwrap();
        let mut body = body.begun().await;
        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(body.is_end_stream());

        let (writer, mut body) = channel();
        writer
            .write_last(one(b"a"), Some(HeaderMap::new()))
            .await
            .unwrap();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(!body.is_end_stream());
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.is_end_stream());
    }
}
