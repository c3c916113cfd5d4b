//! Writes gRPC messages to an HTTP/2 stream, with backpressure.

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{Reason, SendStream};
use http::HeaderMap;
use tokio::time::{Instant, timeout};

use super::budget::Share;

/// The most that is handed to the connection at once, so that memory stays with the budget.
const PIECE: usize = 64 * 1024;

/// What is copied rather than written apart: a frame of its own costs more than the copy.
const COPIED: usize = 8 * 1024;

/// How long a reader may read nothing of the end of a body.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether a reader that reads nothing holds memory that others wait for.
const LOOK: Duration = Duration::from_secs(1);

/// How a body ends.
enum Ending {
    Plain,
    Trailers(HeaderMap),
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

/// The body of a request or an answer, as it is written. Dropped before its end, it resets the stream.
pub(crate) struct MessageWriter {
    stream: SendStream<Bytes>,
    /// What is not handed to the connection yet, and the memory it holds.
    parts: [Bytes; 2],
    share: Option<Share>,
    /// Whether it is handed over in several pieces.
    is_large: bool,
    ending: Option<Ending>,
    is_ended: bool,
    /// Why the stream is reset if the body does not end.
    given_up: Reason,
}

/// The connection, or whoever reads from it, is gone.
#[derive(Debug)]
pub(crate) struct ReaderGone;

/// Why a message was not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The connection, or whoever reads from it, is gone.
    Gone,
    /// The reader reads nothing, or too slowly, while others wait for the memory of the message; the body was reset.
    Stalled,
}

impl From<ReaderGone> for Unread {
    fn from(_: ReaderGone) -> Self {
        Self::Gone
    }
}

impl MessageWriter {
    /// Of a call: unended, it is cancelled.
    pub(crate) const fn of_request(stream: SendStream<Bytes>) -> Self {
        Self::new(stream, Reason::CANCEL)
    }

    /// Of an answer: unended, something broke.
    pub(crate) const fn of_answer(stream: SendStream<Bytes>) -> Self {
        Self::new(stream, Reason::INTERNAL_ERROR)
    }

    const fn new(stream: SendStream<Bytes>, given_up: Reason) -> Self {
        Self {
            stream,
            parts: [Bytes::new(), Bytes::new()],
            share: None,
            is_large: false,
            ending: None,
            is_ended: false,
            given_up,
        }
    }

    /// Writes a chunk; waits until the connection has taken it.
    pub(crate) async fn write(&mut self, chunk: Chunk) -> Result<(), Unread> {
        self.handed_over(None).await?;
        self.take(chunk, None);
        self.handed_over(None).await
    }

    /// Writes a chunk of requests, of which the final one ends the body; waits until the connection
    /// has taken it.
    pub(crate) async fn write_request(
        &mut self,
        chunk: Chunk,
        is_final: bool,
    ) -> Result<(), Unread> {
        if !is_final {
            return self.write(chunk).await;
        }
        self.write_last(chunk, None).await?;
        self.handed_over(None).await
    }

    /// Writes the last chunk and ends the body with it, so that one packet carries both; with
    /// trailers, if there are any. Waits for nobody: [`Self::finish`] does.
    pub(crate) async fn write_last(
        &mut self,
        chunk: Chunk,
        trailers: Option<HeaderMap>,
    ) -> Result<(), Unread> {
        self.handed_over(None).await?;
        self.take(
            chunk,
            Some(trailers.map_or(Ending::Plain, Ending::Trailers)),
        );
        poll_fn(|context| match self.poll_hand_over(context) {
            Poll::Ready(handed_over) => Poll::Ready(handed_over),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await?;
        Ok(())
    }

    /// Waits until the connection has taken everything; a reader that reads nothing for long is given
    /// up.
    pub(crate) async fn finish(mut self) -> Result<(), Unread> {
        self.handed_over(Some(END_PATIENCE)).await
    }

    /// Ends the body with trailers; a reader that reads nothing for long is given up.
    pub(crate) async fn end(mut self, trailers: HeaderMap) -> Result<(), Unread> {
        if self.ending.is_none() && !self.is_ended {
            self.ending = Some(Ending::Trailers(trailers));
        }
        self.finish().await
    }

    /// Waits until nobody reads any more; what is written goes on meanwhile.
    pub(crate) async fn reader_gone(&mut self) {
        poll_fn(|context| {
            if matches!(self.poll_hand_over(context), Poll::Ready(Err(_))) {
                return Poll::Ready(());
            }
            self.stream.poll_reset(context).map(drop)
        })
        .await;
    }

    fn take(&mut self, chunk: Chunk, ending: Option<Ending>) {
        let Chunk { lead, rest, share } = chunk;
        self.parts = [lead.freeze(), rest];
        self.is_large = self.left() > PIECE;
        self.share = share;
        self.ending = ending;
    }

    fn left(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    fn is_handed_over(&self) -> bool {
        self.left() == 0 && self.share.is_none() && self.ending.is_none()
    }

    /// Waits for the reader: so long at the most for anything to move, and no longer than others can wait for the
    /// memory that it holds.
    async fn handed_over(&mut self, patience: Option<Duration>) -> Result<(), Unread> {
        let begun = Instant::now();
        let mut moved = begun;
        while !self.is_handed_over() {
            let left = self.left();
            let moving = poll_fn(|context| match self.poll_hand_over(context) {
                Poll::Pending if self.left() == left => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(())),
                ready => ready,
            });
            if let Ok(gone) = timeout(LOOK, moving).await {
                gone?;
                moved = Instant::now();
            }
            let holds_up = |share: &Share| share.is_overdue(begun, moved);
            if self.share.as_ref().is_some_and(holds_up) {
                // To gRPC: RESOURCE_EXHAUSTED.
                return Err(self.give_up(Reason::ENHANCE_YOUR_CALM));
            }
            if patience.is_some_and(|patience| moved.elapsed() >= patience) {
                return Err(self.give_up(self.given_up));
            }
        }
        Ok(())
    }

    /// Resets the stream and gives its memory back.
    fn give_up(&mut self, reason: Reason) -> Unread {
        self.stream.send_reset(reason);
        self.is_ended = true;
        self.parts = [Bytes::new(), Bytes::new()];
        self.share = None;
        self.ending = None;
        Unread::Stalled
    }

    fn poll_hand_over(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ReaderGone>> {
        while let Some(part) = self.parts.iter_mut().find(|part| !part.is_empty()) {
            // Any room will do: what goes beyond it, a piece at most, waits with the connection.
            self.stream.reserve_capacity(1);
            while self.stream.capacity() == 0 {
                match ready!(self.stream.poll_capacity(context)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(ReaderGone)),
                }
            }
            let mut piece = part.split_to(part.len().min(PIECE));
            // The end of a large message may wait there when nothing else of it is held any more.
            if self.is_large && part.is_empty() {
                piece = Bytes::copy_from_slice(&piece);
            }
            let ends = self.left() == 0 && matches!(self.ending, Some(Ending::Plain));
            self.send(piece, ends)?;
        }
        self.share = None;
        match self.ending.take() {
            None => {}
            Some(Ending::Plain) => self.send(Bytes::new(), true)?,
            Some(Ending::Trailers(trailers)) => {
                self.is_ended = true;
                let sent = self.stream.send_trailers(trailers);
                sent.map_err(|_| ReaderGone)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, piece: Bytes, ends: bool) -> Result<(), ReaderGone> {
        if ends {
            self.is_ended = true;
            self.ending = None;
        }
        self.stream.send_data(piece, ends).map_err(|_| ReaderGone)
    }
}

impl Drop for MessageWriter {
    fn drop(&mut self) {
        if !self.is_ended {
            self.stream.send_reset(self.given_up);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http_body_util::BodyExt;
    use tokio::{
        io::duplex,
        sync::{mpsc, oneshot},
    };
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        crowd::Crowd,
        grpc::budget::Budget,
        http2::{
            client::{Answering, open},
            line::{Listening, OF_CLIENT},
            received::ReceivedBody,
            server::{Responder, serve},
        },
    };

    fn one(message: &'static [u8]) -> Chunk {
        Chunk::of(false, Bytes::from_static(message)).unwrap()
    }

    /// Both ends of a call.
    async fn call() -> (MessageWriter, Answering, ReceivedBody, Responder) {
        let (near, far) = duplex(1 << 20);
        let (arrived, mut arriving) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let answer = |request, responder| {
                let _ = arrived.send((request, responder));
                std::future::ready(())
            };
            serve(far, OF_CLIENT, 10, CancellationToken::new(), answer).await
        });
        let connection = open(near, Listening::Never, Crowd::nobody()).await.unwrap();
        let head = Request::post("http://localhost/a").body(()).unwrap();
        let (writer, answering) = connection.call(head).await.unwrap();
        let (request, responder) = arriving.recv().await.unwrap();
        (writer, answering, Request::into_body(request), responder)
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_does_not_end_well() {
        let (mut writer, _answering, mut body, _responder) = call().await;
        writer.write(one(b"a")).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), &b"\0\0\0\0\x01a"[..]);
        drop(writer);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
    }

    #[tokio::test]
    async fn an_answer_that_is_given_up_is_told_to_be_broken() {
        let (_writer, mut answering, _body, responder) = call().await;
        drop(responder);
        let error = answering.response().await.err().unwrap();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));

        let (_writer, mut answering, _body, responder) = call().await;
        let answer = responder.begin(http::Response::new(())).unwrap();
        let mut body = answering.response().await.unwrap().into_body();
        drop(answer);
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    }

    #[tokio::test]
    async fn two_parts_make_one_message() {
        let (mut writer, _answering, body, _responder) = call().await;
        let large = Bytes::from(vec![7; 3 * PIECE + 1]);
        let chunk = Chunk::default().and(true, b"ab", large).unwrap();
        let reading = tokio::spawn(body.collect());
        writer.write_request(chunk, true).await.unwrap();
        let read = reading.await.unwrap().unwrap().to_bytes();
        assert_eq!(read.len(), 5 + 2 + 3 * PIECE + 1);
        assert_eq!(&read[..7], [1, 0, 3, 0, 3, b'a', b'b']);
    }

    #[tokio::test]
    async fn messages_of_one_chunk_are_read_one_after_the_other() {
        for length in [3, COPIED, COPIED + 1] {
            let (mut writer, _answering, body, _responder) = call().await;
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
        let (mut writer, _answering, mut body, _responder) = call().await;
        writer.write_last(one(b"a"), None).await.unwrap();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(http_body::Body::is_end_stream(&body));

        let (mut writer, _answering, mut body, _responder) = call().await;
        let trailers = Some(HeaderMap::new());
        writer.write_last(one(b"a"), trailers).await.unwrap();
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(!http_body::Body::is_end_stream(&body));
        assert!(body.frame().await.unwrap().unwrap().is_trailers());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_last_chunk_waits_for_nobody_and_is_read_to_its_end_while_it_is_finished() {
        let (mut writer, _answering, body, _responder) = call().await;
        let length = 4 * OF_CLIENT as usize;
        let chunk = Chunk::of(false, Bytes::from(vec![7; length])).unwrap();
        writer.write_last(chunk, None).await.unwrap();
        assert!(!writer.is_handed_over());
        let (told, read) = oneshot::channel();
        tokio::spawn(async move { told.send(body.collect().await.unwrap().to_bytes()) });
        writer.finish().await.unwrap();
        assert_eq!(read.await.unwrap().len(), 5 + length);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_nothing_of_the_end_is_given_up() {
        let (mut writer, _answering, body, _responder) = call().await;
        let chunk = Chunk::of(false, Bytes::from(vec![7; 4 << 20])).unwrap();
        writer.write_last(chunk, None).await.unwrap();
        assert!(writer.finish().await.is_err());
        let error = body.collect().await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_nothing_is_given_up_once_others_wait_for_its_memory() {
        let (mut writer, _answering, body, _responder) = call().await;
        let budget = Budget::new(1 << 20, 1 << 20);
        let share = budget.share(1 << 20).await.unwrap();
        let message = Chunk::of(false, Bytes::from(vec![7; (1 << 20) - 5])).unwrap();
        let writing = tokio::spawn(async move {
            let written = writer.write(message.holding(Some(share))).await;
            (written, writer)
        });
        // As long as nobody waits it may take its time.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!writing.is_finished());
        let begun = Instant::now();
        drop(budget.share(1).await.unwrap());
        assert!(begun.elapsed() <= LOOK);
        let (written, mut writer) = writing.await.unwrap();
        assert_eq!(written, Err(Unread::Stalled));
        assert_eq!(writer.write(one(b"a")).await, Err(Unread::Gone));
        let error = body.collect().await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_reads_a_little_now_and_then_has_as_long_as_a_message_may_take() {
        let (mut writer, _answering, mut body, _responder) = call().await;
        let budget = Budget::new(1 << 20, 1 << 20);
        let share = budget.share(1 << 20).await.unwrap();
        let message = Chunk::of(false, Bytes::from(vec![7; (1 << 20) - 5])).unwrap();
        let begun = Instant::now();
        let writing = tokio::spawn(async move { writer.write(message.holding(Some(share))).await });
        let waiting = tokio::spawn(async move {
            loop {
                if let Ok(share) = budget.share(1).await {
                    return share;
                }
            }
        });
        while !writing.is_finished() {
            tokio::time::sleep(Duration::from_secs(5)).await;
            // Frames of 16 KiB: a piece.
            for _ in 0..4 {
                let _ = body.frame().await;
            }
        }
        assert_eq!(writing.await.unwrap(), Err(Unread::Stalled));
        assert!(begun.elapsed() >= Duration::from_secs(60));
        drop(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn it_is_noticed_when_nobody_reads_any_more() {
        let (mut writer, answering, body, responder) = call().await;
        let chunk = Chunk::of(false, Bytes::from(vec![7; 4 << 20])).unwrap();
        writer.write_last(chunk, None).await.unwrap();
        let gone = tokio::spawn(async move { writer.reader_gone().await });
        drop((body, responder));
        gone.await.unwrap();
        drop(answering);
    }
}
