//! A link between two processes that a test cuts, holds and slows: a TCP proxy in this process.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use crate::{Error, waiting::wait_until};

/// What goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passage {
    /// Everything, at once.
    Open,
    /// Everything, at most so many bytes at a time and with this pause between.
    Slow {
        /// Bytes.
        bytes: usize,
        /// Between them.
        pause: Duration,
    },
    /// Nothing: connections stay and new ones are accepted, and nobody is told. What was sent is
    /// delivered when the link opens.
    Held,
    /// Nothing: connections are reset, and new ones as soon as they are made.
    Cut,
}

/// The link; it is cut for good when this is dropped.
pub struct Link {
    /// `ADDRESS:PORT` where it is entered.
    pub address: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    passage: watch::Sender<Passage>,
    /// How many more bytes go through before it becomes another one.
    turn: Mutex<Option<(usize, Passage)>>,
    connections: watch::Sender<usize>,
    bytes: AtomicUsize,
}

impl Link {
    /// An open link to this address.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn to(address: &str) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let entered = listener.local_addr()?.to_string();
        let shared = Arc::new(Shared {
            passage: watch::Sender::new(Passage::Open),
            turn: Mutex::default(),
            connections: watch::Sender::new(0),
            bytes: AtomicUsize::new(0),
        });
        let serving = tokio::spawn(serve(listener, address.to_owned(), Arc::clone(&shared)));
        Ok(Self {
            address: entered,
            shared,
            serving,
        })
    }

    /// Lets this go through from now on.
    pub fn set(&self, passage: Passage) {
        *self.shared.turn() = None;
        self.shared.passage.send_replace(passage);
    }

    /// Lets this go through once so many more bytes have, in both directions together.
    pub fn set_after(&self, bytes: usize, passage: Passage) {
        *self.shared.turn() = Some((bytes, passage));
    }

    /// How many bytes went through so far, in both directions together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::SeqCst)
    }

    /// How many connections there are now.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Waits until what goes through has become this, after [`Self::set_after`].
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_until(&self, passage: Passage) -> Result<(), Error> {
        let reached = wait_until("a link to change", &self.shared.passage, |now| {
            *now == passage
        });
        reached.await.map(drop)
    }

    /// Waits until there are no connections any more: both ends have closed, or were reset.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn wait_until_unused(&self) -> Result<(), Error> {
        let connections = &self.shared.connections;
        let unused = wait_until("a link to be unused", connections, |count| *count == 0);
        unused.await.map(drop)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(Passage::Cut);
        self.serving.abort();
    }
}

impl Shared {
    fn turn(&self) -> MutexGuard<'_, Option<(usize, Passage)>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of `wanted` bytes may go now; the passage turns when the last of them have.
    fn take(&self, wanted: usize) -> (usize, Option<Passage>) {
        let mut turn = self.turn();
        match &mut *turn {
            Some((left, passage)) if *left <= wanted => {
                let (last, passage) = (*left, *passage);
                *turn = None;
                (last, Some(passage))
            }
            Some((left, _)) => {
                *left -= wanted;
                (wanted, None)
            }
            None => (wanted, None),
        }
    }
}

async fn serve(listener: TcpListener, address: String, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        let (address, shared) = (address.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            shared.connections.send_modify(|count| *count += 1);
            // Whoever dials is told by the end of the connection.
            let _ = connect(near, &address, &shared).await;
            shared.connections.send_modify(|count| *count -= 1);
        });
    }
}

async fn connect(near: TcpStream, address: &str, shared: &Arc<Shared>) -> std::io::Result<()> {
    near.set_zero_linger()?;
    let mut passage = shared.passage.subscribe();
    let is_cut = |now: &Passage| *now == Passage::Cut;
    if is_cut(&passage.borrow_and_update()) {
        return Ok(());
    }
    let far = TcpStream::connect(address).await?;
    far.set_zero_linger()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::select! {
        _ = passage.wait_for(is_cut) => {}
        _ = async {
            tokio::join!(
                carry(from_near, to_far, shared),
                carry(from_far, to_near, shared),
            )
        } => {}
    }
    Ok(())
}

/// Carries one direction to its end.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut passage = shared.passage.subscribe();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let is_passable = |now: &Passage| !matches!(now, Passage::Held | Passage::Cut);
            let now = passage.wait_for(is_passable).await;
            let now = *now.map_err(std::io::Error::other)?;
            let (most, pause) = match now {
                Passage::Slow { bytes, pause } => (bytes.max(1), pause),
                _ => (rest.len(), Duration::ZERO),
            };
            let (allowed, turn) = shared.take(rest.len().min(most));
            let (piece, later) = rest.split_at(allowed);
            to.write_all(piece).await?;
            shared.bytes.fetch_add(piece.len(), Ordering::SeqCst);
            rest = later;
            if let Some(turn) = turn {
                shared.passage.send_replace(turn);
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link to a server that gives back what it is sent, and a connection through it.
    async fn echo() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let link = Link::to(&address).await.unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        let stream = TcpStream::connect(&link.address).await.unwrap();
        (link, stream)
    }

    async fn said(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut said = vec![0; length];
        stream.read_exact(&mut said).await.unwrap();
        said
    }

    #[tokio::test]
    async fn what_was_held_is_delivered_when_the_link_opens() {
        let (link, mut stream) = echo().await;
        stream.write_all(b"one").await.unwrap();
        assert_eq!(said(&mut stream, 3).await, b"one");
        link.set(Passage::Held);
        stream.write_all(b"two").await.unwrap();
        let nothing = tokio::time::timeout(Duration::from_millis(50), said(&mut stream, 1)).await;
        assert!(nothing.is_err());
        link.set(Passage::Slow {
            bytes: 1,
            pause: Duration::ZERO,
        });
        assert_eq!(said(&mut stream, 3).await, b"two");
        assert_eq!((link.bytes(), link.connections()), (12, 1));
        drop(stream);
        link.wait_until_unused().await.unwrap();
    }

    #[tokio::test]
    async fn a_link_is_cut_after_so_many_bytes() {
        let (link, mut stream) = echo().await;
        link.set_after(5, Passage::Cut);
        stream.write_all(b"123").await.unwrap();
        // Three there, two back.
        let mut read = Vec::new();
        assert!(stream.read_to_end(&mut read).await.is_err() || read.len() <= 2);
        link.wait_until(Passage::Cut).await.unwrap();
        link.wait_until_unused().await.unwrap();
        assert_eq!(link.bytes(), 5);
        let mut other = TcpStream::connect(&link.address).await.unwrap();
        assert!(!matches!(other.read(&mut [0]).await, Ok(1..)));
        link.set(Passage::Open);
        let mut third = TcpStream::connect(&link.address).await.unwrap();
        third.write_all(b"x").await.unwrap();
        assert_eq!(said(&mut third, 1).await, b"x");
    }
}
