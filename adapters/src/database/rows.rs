//! Rows of one statement, a few ahead of the reader; the end is said, never inferred.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use sqlx::Either;
use tokio::{sync::mpsc, time::Instant};

use super::{
    DatabaseError, Prepared,
    pool::{Driver, Ending, Pool},
};
use crate::field_type::Cell;

/// Rows that wait between the database and the caller; few, since a row may be large.
pub(super) const ROWS_AHEAD: usize = 16;

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
}

#[derive(Debug)]
enum Item {
    Row(Vec<Cell>),
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
            Some(Item::Row(row)) => Ok(Some(row)),
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
        let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
        let mut outlet = Outlet {
            sender,
            begun: false,
        };
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
        Self {
            receiver,
            ended: false,
        }
    }
}

impl Outlet {
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
                    self.begun = true;
                    let sent = self.sender.send(Item::Row(cells(&row)?)).await;
                    sent.map_err(|_closed| DatabaseError::of_driver())?;
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
