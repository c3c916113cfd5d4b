//! Reads gRPC messages from an HTTP body, each under the byte budget, and its trailers.

use std::{future::poll_fn, pin::Pin, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};
use trust::{Reason, Refusal};

use super::budget::{Budget, Share};

/// How long the end of a direction is waited for, so that a unary call costs one signature.
pub(crate) const END_PATIENCE: Duration = Duration::from_millis(1);

const PREFIX_LENGTH: usize = 5;

/// A buffer of this size may stay for the next message.
const KEPT: usize = 64 * 1024;

/// One gRPC message as it stood on the wire, without its prefix.
#[derive(Debug)]
pub(crate) struct GrpcMessage {
    /// The compressed flag.
    pub(crate) compressed: bool,
    /// The bytes.
    pub(crate) bytes: Bytes,
    /// Memory held for them.
    pub(crate) share: Share,
}

/// Why reading stopped before the end.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// What was sent is not acceptable.
    Refused(Refusal),
    /// The other end reset the stream or the connection broke.
    Lost(String),
}

impl From<Refusal> for ReadError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Cuts a body into messages.
pub(crate) struct MessageReader<B> {
    body: B,
    buffer: BytesMut,
    trailers: Option<HeaderMap>,
    ended: bool,
    budget: Budget,
}

impl<B> MessageReader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    pub(crate) fn new(body: B, budget: Budget) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            trailers: None,
            ended: false,
            budget,
        }
    }

    /// The next message; none at the end of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<GrpcMessage>, ReadError> {
        while self.buffer.len() < PREFIX_LENGTH {
            if !self.fill().await? {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                return Err(cut_short().into());
            }
        }
        let compressed = match self.buffer.get_u8() {
            0 => false,
            1 => true,
            flag => {
                return Err(Refusal::new(
                    Reason::MalformedMessage,
                    format!("a gRPC message begins with the flag {flag}, which has no meaning"),
                )
                .into());
            }
        };
        let length = self.buffer.get_u32() as usize;
        // The length is chosen by the sender: ask the budget before reserving anything.
        let share = self.budget.share(length).await?;
        self.buffer
            .reserve(length.saturating_sub(self.buffer.len()));
        let patience = self.budget.message_timeout();
        match tokio::time::timeout(patience, self.fill_to(length)).await {
            Ok(filled) => filled?,
            Err(_) => {
                let seconds = patience.as_secs_f64();
                let what = format!("a gRPC message did not arrive whole within {seconds} seconds");
                return Err(Refusal::new(Reason::MalformedMessage, what).into());
            }
        }
        let bytes = self.buffer.split_to(length).freeze();
        if length > KEPT {
            // What is left would keep the whole message in memory, long after its share was given back.
            self.buffer = BytesMut::from(&*self.buffer);
        }
        Ok(Some(GrpcMessage {
            compressed,
            bytes,
            share,
        }))
    }

    /// Whether the first byte of a message, or the end, arrives within the patience.
    pub(crate) async fn begins(&mut self) -> Result<bool, ReadError> {
        if self.ended || !self.buffer.is_empty() {
            return Ok(true);
        }
        match tokio::time::timeout(END_PATIENCE, self.fill()).await {
            Ok(filled) => filled.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    /// Whether the body ends here; waits for the answer no longer than the patience.
    pub(crate) async fn ends(&mut self) -> Result<bool, ReadError> {
        Ok(self.begins().await? && self.ended && self.buffer.is_empty())
    }

    /// Reads the body to its end, behind its last message: a body that is dropped before is reset,
    /// and a connection bears only so many resets. Stops at anything but the end.
    pub(crate) async fn finish(&mut self) {
        let _ = self.fill().await;
    }

    /// The trailers; complete once [`Self::next`] gave none or [`Self::ends`] gave true.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    async fn fill_to(&mut self, length: usize) -> Result<(), ReadError> {
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(cut_short().into());
            }
        }
        Ok(())
    }

    /// Reads one more frame; false at the end. Stops at nothing but a frame with data, so it may be
    /// dropped half way without losing any.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        while !self.ended {
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                None => self.ended = true,
                Some(Ok(frame)) => {
                    if self.take(frame) {
                        return Ok(true);
                    }
                }
                Some(Err(error)) => return Err(ReadError::Lost(error.to_string())),
            }
        }
        Ok(false)
    }

    fn take(&mut self, frame: Frame<Bytes>) -> bool {
        match frame.into_data() {
            Ok(data) => {
                let any = data.has_remaining();
                if any {
                    self.buffer.extend_from_slice(&data);
                }
                // A body may end without a last `None` once it says so.
                self.ended = self.body.is_end_stream();
                any
            }
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.ended = true;
                false
            }
        }
    }
}

fn cut_short() -> Refusal {
    Refusal::new(
        Reason::MalformedMessage,
        "the body ends in the middle of a gRPC message",
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    type Frames = tokio::sync::mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>;

    fn reader() -> (
        Frames,
        MessageReader<impl Body<Data = Bytes, Error = std::io::Error>>,
    ) {
        let (sender, receiver) = tokio::sync::mpsc::channel(64);
        let body = StreamBody::new(ReceiverStream::new(receiver));
        (sender, MessageReader::new(body, Budget::new(1 << 20, 1000)))
    }

    async fn send(frames: &Frames, bytes: &[u8]) {
        frames
            .send(Ok(Frame::data(Bytes::copy_from_slice(bytes))))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn messages_are_found_however_the_body_is_cut() {
        let wire = b"\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\0\x01c";
        for size in 1..=wire.len() {
            let (frames, mut reader) = reader();
            for piece in wire.chunks(size) {
                send(&frames, piece).await;
            }
            drop(frames);
            let mut found = Vec::new();
            while let Some(message) = reader.next().await.unwrap() {
                found.push((message.compressed, message.bytes));
            }
            let expected =
                [(false, "ab"), (true, ""), (false, "c")].map(|(c, b)| (c, Bytes::from(b)));
            assert_eq!(found, expected, "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn trailers_end_the_body() {
        let (frames, mut reader) = reader();
        send(&frames, b"\0\0\0\0\x01a").await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        frames.send(Ok(Frame::trailers(trailers))).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        assert!(reader.ends().await.unwrap());
        assert_eq!(reader.take_trailers().unwrap()["grpc-status"], "0");
    }

    #[tokio::test]
    async fn a_body_is_read_to_its_end_and_no_further_than_that() {
        let (frames, mut reader) = reader();
        send(&frames, b"\0\0\0\0\x01a").await;
        assert!(reader.next().await.unwrap().is_some());
        let ending = tokio::spawn(async move {
            reader.finish().await;
            reader.ended
        });
        tokio::task::yield_now().await;
        let trailers = Frame::trailers(HeaderMap::new());
        frames.send(Ok(trailers)).await.unwrap();
        assert!(ending.await.unwrap());

        let (frames, mut reader) = self::reader();
        send(&frames, b"more").await;
        reader.finish().await;
        assert!(!reader.ended);
    }

    #[tokio::test]
    async fn a_length_over_the_limit_is_refused_before_the_message_is_read() {
        let (frames, mut reader) = reader();
        send(&frames, b"\0\xff\xff\xff\xff").await;
        let Err(ReadError::Refused(refusal)) = reader.next().await else {
            panic!("accepted")
        };
        assert_eq!(refusal.reason, Reason::MessageTooLarge);
    }

    #[tokio::test]
    async fn a_cut_message_and_an_unknown_flag_are_refused() {
        for wire in [&b"\0\0\0\0\x05abc"[..], b"\0\0", b"\x02\0\0\0\0"] {
            let (frames, mut reader) = reader();
            send(&frames, wire).await;
            drop(frames);
            let Err(ReadError::Refused(refusal)) = reader.next().await else {
                panic!("accepted")
            };
            assert_eq!(refusal.reason, Reason::MalformedMessage);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_arrives_gives_its_memory_back() {
        let (frames, mut reader) = reader();
        send(&frames, b"\0\0\0\0\x05abc").await;
        let Err(ReadError::Refused(refusal)) = reader.next().await else {
            panic!("accepted")
        };
        assert_eq!(refusal.reason, Reason::MalformedMessage);
    }

    #[tokio::test]
    async fn an_open_body_is_said_not_to_end_and_loses_nothing() {
        let (frames, mut reader) = reader();
        assert!(!reader.begins().await.unwrap());
        assert!(!reader.ends().await.unwrap());
        send(&frames, b"\0\0\0\0\x01a").await;
        assert_eq!(reader.next().await.unwrap().unwrap().bytes, "a");
    }
}
