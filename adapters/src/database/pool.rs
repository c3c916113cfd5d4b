//! Connections to one database: a few, kept while they are good, each for one statement at a time.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until, timeout_at},
};

use super::{DatabaseError, Prepared, TableColumn, rows::Outlet};
use crate::{field_type::Cell, statement::Statement};

/// How long a connection may take to come to rest after its call has ended.
pub(super) const REST: Duration = Duration::from_secs(5);

/// How long a server may take to let a connection in.
const CONNECT: Duration = Duration::from_secs(10);

/// What an engine does for the pool.
pub(super) trait Driver: fmt::Debug + Send + Sync + 'static {
    /// A connection with what is known of it.
    type Session: Send + 'static;

    /// A new connection.
    fn connect(&self) -> impl Future<Output = Result<Self::Session, DatabaseError>> + Send;

    /// Whether a connection that was kept still is one to this database.
    fn is_current(&self, session: &Self::Session) -> bool;

    /// Asks the database for a sign of life.
    fn probe(
        &self,
        session: &mut Self::Session,
    ) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// What this account may do beyond reading, in words; none if it may only read.
    fn may_write(
        &self,
        session: &mut Self::Session,
    ) -> impl Future<Output = Result<Option<String>, DatabaseError>> + Send;

    /// The columns of a table; none if there is no such table.
    fn columns(
        &self,
        session: &mut Self::Session,
        table: &str,
    ) -> impl Future<Output = Result<Vec<TableColumn>, DatabaseError>> + Send;

    /// Prepares a statement without running it.
    fn prepare(
        &self,
        session: &mut Self::Session,
        statement: &Statement,
    ) -> impl Future<Output = Result<Prepared, DatabaseError>> + Send;

    /// How the database would look for the rows, step by step; none if it must have values to say so.
    fn plan(
        &self,
        session: &mut Self::Session,
        statement: &Prepared,
        values: Option<&[Cell]>,
    ) -> impl Future<Output = Result<Option<Vec<String>>, DatabaseError>> + Send;

    /// Runs a statement and hands over its rows, until the last one.
    fn run(
        &self,
        session: &mut Self::Session,
        run: Run<'_>,
    ) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Begins, ends or gives up a transaction that writes, whose statements may take this long.
    fn control(
        &self,
        session: &mut Self::Session,
        control: Control,
        time: Duration,
    ) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Runs a statement of a transaction; how many rows it changed.
    fn execute(
        &self,
        session: &mut Self::Session,
        statement: &Prepared,
        values: &[Cell],
    ) -> impl Future<Output = Result<u64, DatabaseError>> + Send;

    /// Runs a statement of a transaction; the first two of its rows.
    fn fetch(
        &self,
        session: &mut Self::Session,
        statement: &Prepared,
        values: &[Cell],
    ) -> impl Future<Output = Result<Vec<Vec<Cell>>, DatabaseError>> + Send;

    /// Whether the connection still is in the transaction that it began.
    fn is_in_transaction(
        &self,
        session: &mut Self::Session,
    ) -> impl Future<Output = Result<bool, DatabaseError>> + Send;

    /// Whether no two rows of a table have the same values in these columns.
    fn is_unique(
        &self,
        session: &mut Self::Session,
        table: &str,
        columns: &[String],
    ) -> impl Future<Output = Result<bool, DatabaseError>> + Send;

    /// Why numbers of a column do not rise in the order in which rows are inserted; none if they do.
    fn fault_of_numbers(
        &self,
        session: &mut Self::Session,
        table: &str,
        column: &str,
    ) -> impl Future<Output = Result<Option<String>, DatabaseError>> + Send;

    /// How many triggers of these names a table has that fire; none if this account cannot see.
    fn triggers(
        &self,
        session: &mut Self::Session,
        table: &str,
        names: &[String],
    ) -> impl Future<Output = Result<Option<usize>, DatabaseError>> + Send;

    /// Stops what a connection still runs; gives it back if it can be used again.
    fn stop(&self, session: Self::Session) -> impl Future<Output = Option<Self::Session>> + Send;
}

/// What is said of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Begin,
    Commit,
    Rollback,
}

/// One run of a statement.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) statement: &'a Prepared,
    pub(super) values: &'a [Cell],
    /// The time that it may take.
    pub(super) time: Duration,
    pub(super) rows: &'a mut Outlet,
}

/// The connections.
#[derive(Debug)]
pub(super) struct Pool<D: Driver> {
    pub(super) driver: Arc<D>,
    idle: Mutex<Vec<D::Session>>,
    places: Arc<Semaphore>,
}

/// A connection taken from the pool, with its place.
#[derive(Debug)]
pub(super) struct Taken<S> {
    pub(super) session: S,
    /// Whether it has served before, so that it may have been closed in the meantime.
    was_kept: bool,
    place: OwnedSemaphorePermit,
}

/// Why a statement is no longer read.
pub(super) enum Ending {
    Complete,
    Failed(DatabaseError),
    /// Nobody waits for the rows any more.
    Abandoned,
}

impl<D: Driver> Pool<D> {
    pub(super) fn new(driver: D, connections: usize) -> Self {
        Self::over(Arc::new(driver), connections)
    }

    /// Other connections to the same database.
    pub(super) fn apart(&self, connections: usize) -> Self {
        Self::over(Arc::clone(&self.driver), connections)
    }

    fn over(driver: Arc<D>, connections: usize) -> Self {
        Self {
            driver,
            idle: Mutex::new(Vec::new()),
            places: Arc::new(Semaphore::new(connections)),
        }
    }

    /// A connection, as soon as there is a place for one.
    async fn take(&self) -> Result<Taken<D::Session>, DatabaseError> {
        let place = Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_closed| DatabaseError::of_driver())?;
        while let Some(session) = self.take_idle() {
            if self.driver.is_current(&session) {
                return Ok(Taken {
                    session,
                    was_kept: true,
                    place,
                });
            }
        }
        self.connect(place).await
    }

    /// Only a connection that is at rest comes back; one that failed is dropped instead.
    pub(super) fn put_back(&self, taken: Taken<D::Session>) {
        self.idle().push(taken.session);
        drop(taken.place);
    }

    /// Does something with a connection that has just given a sign of life.
    pub(super) async fn ask<T>(
        &self,
        work: impl AsyncFnOnce(&D, &mut D::Session) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut taken = self.take_live().await?;
        let answer = work(&self.driver, &mut taken.session).await?;
        self.put_back(taken);
        Ok(answer)
    }

    /// A connection that has just given a sign of life.
    pub(super) async fn take_live(&self) -> Result<Taken<D::Session>, DatabaseError> {
        let mut taken = self.take().await?;
        let sign = tokio::time::timeout(REST, self.driver.probe(&mut taken.session)).await;
        match sign.unwrap_or_else(|_too_long| Err(no_answer())) {
            Ok(()) => Ok(taken),
            Err(DatabaseError::Unavailable { .. }) if taken.was_kept => {
                self.instead_of(taken).await
            }
            Err(error) => Err(error),
        }
    }

    /// Runs a statement until its last row, its deadline, or until nobody reads the rows; gives back a connection that must be
    /// stopped.
    pub(super) async fn read(
        &self,
        statement: &Prepared,
        values: &[Cell],
        deadline: Instant,
        rows: &mut Outlet,
    ) -> (Ending, Option<Taken<D::Session>>) {
        let mut taken = tokio::select! {
            () = rows.closed() => return (Ending::Abandoned, None),
            () = sleep_until(deadline) => return (Ending::Failed(DatabaseError::Deadline), None),
            taken = self.take() => match taken {
                Ok(taken) => taken,
                Err(error) => return (Ending::Failed(error), None),
            },
        };
        let mut ending = self
            .run(&mut taken, statement, values, deadline, rows)
            .await;
        // One that was kept may have been closed since, before anything was asked of it.
        if let Ending::Failed(DatabaseError::Unavailable { .. }) = ending
            && taken.was_kept
            && !rows.has_begun()
        {
            taken = match timeout_at(deadline, self.instead_of(taken)).await {
                Ok(Ok(taken)) => taken,
                Ok(Err(error)) => return (Ending::Failed(error), None),
                Err(_too_long) => return (Ending::Failed(DatabaseError::Deadline), None),
            };
            ending = self
                .run(&mut taken, statement, values, deadline, rows)
                .await;
        }
        match ending {
            // A complete statement is at rest already, and the common case pays no round trip; so is one that got no lock.
            Ending::Complete | Ending::Failed(DatabaseError::Locked) => {
                self.put_back(taken);
                (ending, None)
            }
            Ending::Failed(DatabaseError::Deadline) | Ending::Abandoned => (ending, Some(taken)),
            Ending::Failed(_) => (ending, None),
        }
    }

    /// Stops what a connection still runs; its place is free again when that is done.
    pub(super) async fn stop(&self, unfinished: Taken<D::Session>) {
        if let Some(session) = self.driver.stop(unfinished.session).await {
            self.idle().push(session);
        }
        drop(unfinished.place);
    }

    async fn run(
        &self,
        taken: &mut Taken<D::Session>,
        statement: &Prepared,
        values: &[Cell],
        deadline: Instant,
        rows: &mut Outlet,
    ) -> Ending {
        let nobody_reads = rows.closed();
        let run = Run {
            statement,
            values,
            time: deadline.saturating_duration_since(Instant::now()),
            rows,
        };
        tokio::select! {
            biased; // a row that cannot be handed over is no fault of the database
            () = nobody_reads => Ending::Abandoned,
            () = sleep_until(deadline) => Ending::Failed(DatabaseError::Deadline),
            result = self.driver.run(&mut taken.session, run) => match result {
                Ok(()) => Ending::Complete,
                Err(error) => Ending::Failed(error),
            },
        }
    }

    async fn connect(
        &self,
        place: OwnedSemaphorePermit,
    ) -> Result<Taken<D::Session>, DatabaseError> {
        let connected = tokio::time::timeout(CONNECT, self.driver.connect()).await;
        Ok(Taken {
            session: connected.unwrap_or_else(|_too_long| Err(no_answer()))?,
            was_kept: false,
            place,
        })
    }

    /// A new connection in the place of one that is gone, and so are all that were kept with it.
    async fn instead_of(
        &self,
        gone: Taken<D::Session>,
    ) -> Result<Taken<D::Session>, DatabaseError> {
        self.idle().clear();
        self.connect(gone.place).await
    }

    fn take_idle(&self) -> Option<D::Session> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<D::Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer() -> DatabaseError {
    DatabaseError::Unavailable {
        detail: "there was no answer for some seconds".to_owned(),
        remedy: "see that the server is not overloaded, and that nothing on the way drops its packets",
    }
}
