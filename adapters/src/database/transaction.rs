//! A transaction that writes: its statements one after the other, and then all of them or none.

use std::{sync::Arc, time::Duration};

use super::{
    Connections, Database, DatabaseError, MariaDbDriver, PostgresqlDriver, Prepared, SqliteDriver,
    pool::{Control, Driver, Pool, Taken},
};
use crate::field_type::Cell;

/// How long a commit may take.
const COMMIT: Duration = Duration::from_secs(10);

/// A transaction that has begun. One that is dropped has changed nothing: its connection is closed.
#[derive(Debug)]
pub struct Transaction(Connection);

#[derive(Debug)]
enum Connection {
    Sqlite(On<SqliteDriver>),
    Postgresql(On<PostgresqlDriver>),
    MariaDb(On<MariaDbDriver>),
}

#[derive(Debug)]
struct On<D: Driver> {
    pool: Arc<Pool<D>>,
    taken: Taken<D::Session>,
    time: Duration,
}

/// Does the same on each kind of database.
macro_rules! on {
    ($transaction:expr, $on:ident => $work:expr) => {
        match $transaction {
            Connection::Sqlite($on) => $work,
            Connection::Postgresql($on) => $work,
            Connection::MariaDb($on) => $work,
        }
    };
}

impl Database {
    /// Begins a transaction whose statements may take this long.
    pub async fn begin(&self, time: Duration) -> Result<Transaction, DatabaseError> {
        Ok(Transaction(match &self.0 {
            Connections::Sqlite(pool) => Connection::Sqlite(On::begin(pool, time).await?),
            Connections::Postgresql(pool) => Connection::Postgresql(On::begin(pool, time).await?),
            Connections::MariaDb(pool) => Connection::MariaDb(On::begin(pool, time).await?),
        }))
    }
}

impl Transaction {
    /// Runs a statement; how many rows it changed.
    pub async fn execute(
        &mut self,
        statement: &Prepared,
        values: &[Cell],
    ) -> Result<u64, DatabaseError> {
        on!(&mut self.0, on => {
            on.pool.driver.execute(&mut on.taken.session, statement, values).await
        })
    }

    /// Runs a statement; the first two of its rows: one is an answer, and of more it is enough to know that there are.
    pub async fn fetch(
        &mut self,
        statement: &Prepared,
        values: &[Cell],
    ) -> Result<Vec<Vec<Cell>>, DatabaseError> {
        on!(&mut self.0, on => {
            on.pool.driver.fetch(&mut on.taken.session, statement, values).await
        })
    }

    /// Whether all statements so far still can be taken back: some databases commit at some statements by themselves.
    pub async fn is_whole(&mut self) -> Result<bool, DatabaseError> {
        on!(&mut self.0, on => on.pool.driver.is_in_transaction(&mut on.taken.session).await)
    }

    /// Makes all of it last. After an error it is not known whether it does.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        on!(self.0, on => on.end(Control::Commit).await)
    }

    /// Takes all of it back.
    pub async fn roll_back(self) -> Result<(), DatabaseError> {
        on!(self.0, on => on.end(Control::Rollback).await)
    }

    /// Ends what still runs, and takes all of it back.
    pub async fn abandon(self) {
        on!(self.0, on => {
            // Also a connection that could be used again has a transaction open: it is closed.
            let _ = on.pool.driver.stop(on.taken.session).await;
        });
    }
}

impl<D: Driver> On<D> {
    async fn begin(pool: &Arc<Pool<D>>, time: Duration) -> Result<Self, DatabaseError> {
        let mut taken = pool.take_live().await?;
        let begun = pool
            .driver
            .control(&mut taken.session, Control::Begin, time);
        begun.await?;
        Ok(Self {
            pool: Arc::clone(pool),
            taken,
            time,
        })
    }

    async fn end(mut self, control: Control) -> Result<(), DatabaseError> {
        let ending = self
            .pool
            .driver
            .control(&mut self.taken.session, control, self.time);
        match tokio::time::timeout(COMMIT, ending).await {
            Ok(Ok(())) => {
                self.pool.put_back(self.taken);
                Ok(())
            }
            Ok(Err(error)) => Err(error),
            Err(_too_long) => Err(DatabaseError::Deadline),
        }
    }
}
