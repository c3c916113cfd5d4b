//! Rows of one statement, a few ahead of the reader; the end is said, never inferred.

use std::sync::Arc;

use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, Either, Executor};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, sleep_until},
};

use super::{Database, DatabaseError, ROWS_AHEAD, Reader, arguments, cells, classify};
use crate::{field_type::Cell, statement::Statement};

/// The rows of a running statement. Dropping it stops the statement.
#[derive(Debug)]
pub struct Rows {
    receiver: mpsc::Receiver<Item>,
    ended: bool,
}

#[derive(Debug)]
enum Item {
    Row(Vec<Cell>),
    End,
    Failed(DatabaseError),
}

/// Why a statement is no longer read.
enum Ending {
    Complete,
    Failed(DatabaseError),
    /// Nobody waits for the rows any more.
    Abandoned,
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
            None => Err(DatabaseError::Stopped),
        }
    }
}

impl Database {
    /// Runs a statement until its last row, the deadline, or until the rows are dropped; until
    /// then it keeps the place of its call.
    pub fn query(
        self: &Arc<Self>,
        statement: &Statement,
        parameters: Vec<Cell>,
        deadline: Instant,
        admission: OwnedSemaphorePermit,
    ) -> Rows {
        let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
        let database = Arc::clone(self);
        let text = Arc::clone(&statement.text);
        tokio::spawn(async move {
            let last_word = match database.read(text, parameters, deadline, &sender).await {
                Ending::Complete => Item::End,
                Ending::Failed(error) => Item::Failed(error),
                Ending::Abandoned => return,
            };
            // A caller that takes its rows slowly holds no place beyond the deadline.
            drop(admission);
            // The rows before it may fill the channel; a reader that went away needs no word.
            let _ = sender.send(last_word).await;
        });
        Rows {
            receiver,
            ended: false,
        }
    }

    async fn read(
        &self,
        text: Arc<str>,
        parameters: Vec<Cell>,
        deadline: Instant,
        sender: &mpsc::Sender<Item>,
    ) -> Ending {
        let mut reader = tokio::select! {
            () = sender.closed() => return Ending::Abandoned,
            () = sleep_until(deadline) => return Ending::Failed(DatabaseError::Deadline),
            reader = self.reader() => match reader {
                Ok(reader) => reader,
                Err(error) => return Ending::Failed(error),
            },
        };
        let ending = tokio::select! {
            () = sender.closed() => Ending::Abandoned,
            () = sleep_until(deadline) => Ending::Failed(DatabaseError::Deadline),
            result = forward(&mut reader, text, parameters, sender) => match result {
                Ok(()) => Ending::Complete,
                Err(error) => Ending::Failed(error),
            },
        };
        // A complete statement is at rest already, and the common case pays no round trip.
        if matches!(ending, Ending::Complete) || reader.come_to_rest().await {
            self.put_back(reader);
        }
        ending
    }
}

async fn forward(
    reader: &mut Reader,
    text: Arc<str>,
    parameters: Vec<Cell>,
    sender: &mpsc::Sender<Item>,
) -> Result<(), DatabaseError> {
    // The text is the integrator's and holds no value: parameters are bound.
    let query = sqlx::query_with(AssertSqlSafe(text), arguments(parameters)?);
    let mut rows = (&mut reader.connection).fetch_many(query);
    while let Some(item) = rows.next().await {
        match item.map_err(classify)? {
            Either::Right(row) => {
                let row = Item::Row(cells(&row)?);
                sender
                    .send(row)
                    .await
                    .map_err(|_closed| DatabaseError::Stopped)?;
            }
            // SQLite's own word that the statement is done: without it, rows may be missing.
            Either::Left(_done) => return Ok(()),
        }
    }
    Err(DatabaseError::Stopped)
}
