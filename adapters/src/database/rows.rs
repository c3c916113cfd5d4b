//! Rows of one statement, a few ahead of the reader; the end is said, never inferred.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use sqlx::Either;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use super::{
    DatabaseError, Prepared,
    pool::{Driver, Ending, Pool},
};
use crate::field_type::Cell;

/// Rows that wait between the database and the caller; fewer if they are large.
const ROWS_AHEAD: usize = 256;

/// What the large ones among them may take together; one alone is always let through.
const BYTES_AHEAD: usize = 1024 * 1024;

/// The rows of a running statement. Dropping it stops the statement.
#[derive(Debug)]
pub struct Rows {
    receiver: mpsc::Receiver<Item>,
    ended: bool,
}

/// Where a driver puts the rows.
#[derive(Debug)]
pub(super) struct Outlet {
    sender: mpsc::Sender<Item>,
    begun: bool,
    /// The bytes that large rows may still take.
    room: Arc<Semaphore>,
}

#[derive(Debug)]
enum Item {
    /// With the room that it takes, if it is large.
    Row(Vec<Cell>, Option<OwnedSemaphorePermit>),
    End,
    Failed(DatabaseError),
}

impl Rows {
    /// The next row, or `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Cell>>, DatabaseError> {
        if self.ended {
            return Ok(None);
        }
        match self.receiver.recv().await {
            Some(Item::Row(row, _room)) => Ok(Some(row)),
            Some(Item::End) => {
                self.ended = true;
                Ok(None)
            }
            Some(Item::Failed(error)) => Err(error),
            // A channel that closes without a last word must not look like a complete answer.
            None => Err(DatabaseError::Stopped {
                detail: "nothing was heard of its end",
            }),
        }
    }

    /// Runs a statement until its last row, the deadline, or until the rows are dropped; until
    /// then it keeps the place of its call.
    pub(super) fn of<D: Driver>(
        pool: Arc<Pool<D>>,
        statement: Arc<Prepared>,
        values: Vec<Cell>,
        deadline: Instant,
        admission: impl Send + 'static,
    ) -> Self {
        let (mut outlet, rows) = Outlet::new();
        tokio::spawn(async move {
            let (ending, unfinished) = pool.read(&statement, &values, deadline, &mut outlet).await;
            let last_word = match ending {
                Ending::Complete => Some(Item::End),
                Ending::Failed(error) => Some(Item::Failed(error)),
                Ending::Abandoned => None,
            };
            // A caller that takes its rows slowly holds no place beyond the deadline.
            drop(admission);
            let say = async {
                if let Some(last_word) = last_word {
                    // The rows before it may fill the channel; a reader that went away needs no word.
                    let _ = outlet.sender.send(last_word).await;
                }
            };
            let stop = async {
                if let Some(unfinished) = unfinished {
                    pool.stop(unfinished).await;
                }
            };
            tokio::join!(say, stop);
        });
        rows
    }
}

impl Outlet {
    /// With the rows that are put there.
    fn new() -> (Self, Rows) {
        let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
        let outlet = Self {
            sender,
            begun: false,
            room: Arc::new(Semaphore::new(BYTES_AHEAD)),
        };
        let rows = Rows {
            receiver,
            ended: false,
        };
        (outlet, rows)
    }

    /// Hands over a row, as soon as there is room for it.
    async fn put(&mut self, row: Vec<Cell>) -> Result<(), DatabaseError> {
        self.begun = true;
        let bytes = row.iter().map(Cell::size).sum::<usize>();
        let room = match u32::try_from(bytes.min(BYTES_AHEAD)) {
            // So many of these take no more than that anyway.
            Ok(bytes) if bytes as usize > BYTES_AHEAD / ROWS_AHEAD => {
                let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
                Some(room.map_err(|_closed| DatabaseError::of_driver())?)
            }
            _ => None,
        };
        let sent = self.sender.send(Item::Row(row, room)).await;
        sent.map_err(|_closed| DatabaseError::of_driver())
    }

    /// Whether a row has been given to the caller.
    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// Waits until nobody reads any more.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + use<> {
        let sender = self.sender.clone();
        async move { sender.closed().await }
    }

    /// All rows that a driver reads, to the word that there are no more.
    pub(super) async fn forward<R, S>(
        &mut self,
        mut rows: BoxStream<'_, Result<Either<R, S>, sqlx::Error>>,
        cells: impl Fn(&S) -> Result<Vec<Cell>, DatabaseError>,
        classify: impl Fn(sqlx::Error) -> DatabaseError,
    ) -> Result<(), DatabaseError> {
        while let Some(item) = rows.next().await {
            match item.map_err(&classify)? {
                Either::Right(row) => {
                    self.put(cells(&row)?).await?;
                }
                // The engine's own word that the statement is done: without it, rows may be missing.
                Either::Left(_done) => return drain(rows, classify).await,
            }
        }
        Err(DatabaseError::of_driver())
    }
}

/// What follows the last row is for the driver, which then is at rest.
async fn drain<R, S>(
    mut rows: BoxStream<'_, Result<Either<R, S>, sqlx::Error>>,
    classify: impl Fn(sqlx::Error) -> DatabaseError,
) -> Result<(), DatabaseError> {
    while let Some(item) = rows.next().await {
        item.map_err(&classify)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use bytes::Bytes;

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn row(bytes: usize) -> Vec<Cell> {
        vec![Cell::Integer(1), Cell::Blob(Bytes::from(vec![0; bytes]))]
    }

    #[tokio::test]
    async fn large_rows_wait_until_there_is_room_for_them() {
        let (mut outlet, mut rows) = Outlet::new();
        // However large, one alone is let through.
        outlet.put(row(50 * BYTES_AHEAD)).await.unwrap();
        // Small ones go on behind it.
        outlet.put(row(1)).await.unwrap();
        {
            let mut second = pin!(outlet.put(row(BYTES_AHEAD / 2)));
            assert!(poll(second.as_mut()).is_pending());
            assert_eq!(rows.next().await.unwrap(), Some(row(50 * BYTES_AHEAD)));
            assert!(matches!(poll(second.as_mut()), Poll::Ready(Ok(()))));
        }
        outlet.put(row(BYTES_AHEAD / 2)).await.unwrap();
        let mut third = pin!(outlet.put(row(BYTES_AHEAD / 2)));
        assert!(poll(third.as_mut()).is_pending());
        assert_eq!(rows.next().await.unwrap(), Some(row(1)));
        assert!(poll(third.as_mut()).is_pending());
        assert_eq!(rows.next().await.unwrap(), Some(row(BYTES_AHEAD / 2)));
        assert!(matches!(poll(third.as_mut()), Poll::Ready(Ok(()))));
    }

    #[tokio::test]
    async fn no_more_than_some_small_rows_are_ahead() {
        let (mut outlet, mut rows) = Outlet::new();
        for _ in 0..ROWS_AHEAD {
            outlet.put(row(1)).await.unwrap();
        }
        let mut one_more = pin!(outlet.put(row(1)));
        assert!(poll(one_more.as_mut()).is_pending());
        assert_eq!(rows.next().await.unwrap(), Some(row(1)));
        assert!(poll(one_more.as_mut()).is_ready());
    }
}
