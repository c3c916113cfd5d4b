//! The table with a row for each change: how far its numbers are settled.
//!
//! A row with a smaller number may be committed after one with a larger. So numbers are told only up to the first that is
//! missing, until it is proven that no transaction which is still open has taken it.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    configuration::ChangeTable,
    database::{Database, DatabaseError, Prepared},
    engine::Engine,
    field_type::Cell,
    refusal::Refusal,
    statement::{Field, Statement},
};

mod definition;

pub(crate) use definition::definition;

/// The most numbers of one look.
const LOOK: usize = 10_000;

/// So long a number may be taken before its row, or the transaction that it is in, can be seen.
const SETTLING: Duration = Duration::from_secs(3);

/// How many sights are kept, and how far they are apart at least.
const SIGHTS: usize = 16;
const APART: Duration = Duration::from_secs(1);

/// The statements over the table, and what was seen of it before.
#[derive(Debug)]
pub(crate) struct Numbers {
    database: Database,
    /// Numbers from `:from` on.
    look: Arc<Prepared>,
    proof: Proof,
    /// From the oldest to the newest.
    sights: Mutex<VecDeque<Sight>>,
}

/// How it is proven that a number which is missing will not come any more.
#[derive(Debug)]
enum Proof {
    /// There is one writer at a time, so that numbers are committed in their order.
    OneWriter,
    /// Transactions are numbered as well: all that were open have ended when the oldest open one is as new as the newest was.
    Transactions {
        oldest: Arc<Prepared>,
        newest: Arc<Prepared>,
    },
    /// A row that is not committed is locked: it is asked for with a lock, and without waiting.
    Locks(Arc<Prepared>),
}

/// What was seen at some time.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// The largest number.
    highest: i64,
    at: Instant,
    /// The transaction that was to be the next one; 0 where they have no numbers.
    transaction: i64,
}

impl Numbers {
    /// Has the database prepare the statements.
    ///
    /// # Errors
    /// When the database refuses them.
    pub(crate) async fn prepare(
        database: &Database,
        table: &ChangeTable,
    ) -> Result<Self, DatabaseError> {
        let ChangeTable { table, number, .. } = table;
        let prepare = async |sql: &str, names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| number_field(name)).collect();
            let parsed = Statement::parse(sql, &fields, database.engine());
            let statement = parsed.map_err(|_no_statement| DatabaseError::Stopped {
                detail: "a statement of the adapter's own is none",
            })?;
            database.prepare(&statement).await.map(Arc::new)
        };
        let look = format!(
            "SELECT {number} FROM {table} WHERE {number} >= :from ORDER BY {number} LIMIT {LOOK}"
        );
        let proof = match database.engine() {
            Engine::Sqlite => Proof::OneWriter,
            Engine::Postgresql => {
                let bound = |which: &str| {
                    format!("SELECT pg_snapshot_{which}(pg_current_snapshot())::text::bigint")
                };
                Proof::Transactions {
                    oldest: prepare(&bound("xmin"), &[]).await?,
                    newest: prepare(&bound("xmax"), &[]).await?,
                }
            }
            Engine::MariaDb => {
                let locked = format!(
                    "SELECT {number} FROM {table} WHERE {number} BETWEEN :first AND :last LIMIT 1 LOCK IN SHARE MODE NOWAIT"
                );
                Proof::Locks(prepare(&locked, &["first", "last"]).await?)
            }
        };
        Ok(Self {
            database: database.clone(),
            look: prepare(&look, &["from"]).await?,
            proof,
            sights: Mutex::default(),
        })
    }

    /// The last number behind `passed` up to which all is known that will ever be; `passed` itself if nothing more is.
    ///
    /// # Errors
    /// `PositionUnknown` when there is no change with the number `passed` (0: the beginning).
    pub(crate) async fn settled(&self, passed: i64, deadline: Instant) -> Result<i64, Refusal> {
        let sights = self.sights().clone();
        // Before the look: what it does not see is not committed later by one of those that have ended.
        let oldest = match &self.proof {
            Proof::Transactions { oldest, .. } if !sights.is_empty() => {
                self.one(oldest, deadline).await?
            }
            _ => 0,
        };
        let from = passed.max(1);
        let numbers = self.numbers(&self.look, &[from], deadline).await?;
        let mut numbers = numbers.into_iter().peekable();
        if passed > 0 && numbers.next_if_eq(&passed).is_none() {
            return Err(Refusal::PositionUnknown);
        }
        let mut until = passed;
        while let Some(number) = numbers.next() {
            let missing = until + 1..=number - 1;
            if !missing.is_empty() {
                // When they had been given already, for all that can be told.
                let given = sights.iter().find(|sight| number <= sight.highest);
                let given = given.filter(|sight| sight.at.elapsed() >= SETTLING);
                let will_not_come = match (&self.proof, given) {
                    (Proof::OneWriter, _) => true,
                    (_, None) => false,
                    (Proof::Transactions { .. }, Some(given)) => oldest >= given.transaction,
                    (Proof::Locks(locked), Some(_)) => {
                        self.is_free(locked, missing, deadline).await?
                    }
                };
                if !will_not_come {
                    let highest = numbers.last().unwrap_or(number);
                    self.remember(highest, deadline).await?;
                    return Ok(until);
                }
            }
            until = number;
        }
        Ok(until)
    }

    /// Whether numbers are missing and nobody has their rows in an open transaction.
    async fn is_free(
        &self,
        locked: &Arc<Prepared>,
        missing: RangeInclusive<i64>,
        deadline: Instant,
    ) -> Result<bool, Refusal> {
        let range = [*missing.start(), *missing.end()];
        match self.numbers(locked, &range, deadline).await {
            // One that is there now has come meanwhile, and is told at the next look.
            Ok(found) => Ok(found.is_empty()),
            Err(Refusal::DatabaseLocked) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Remembers what there is now, so that what is missing can be judged later.
    async fn remember(&self, highest: i64, deadline: Instant) -> Result<(), Refusal> {
        let is_known = |newest: &Sight| highest <= newest.highest || newest.at.elapsed() < APART;
        if self.sights().back().is_some_and(is_known) {
            return Ok(());
        }
        let transaction = match &self.proof {
            Proof::Transactions { newest, .. } => self.one(newest, deadline).await?,
            Proof::OneWriter | Proof::Locks(_) => 0,
        };
        let mut sights = self.sights();
        if sights.len() == SIGHTS {
            sights.pop_front();
        }
        sights.push_back(Sight {
            highest,
            at: Instant::now(),
            transaction,
        });
        Ok(())
    }

    async fn one(&self, statement: &Arc<Prepared>, deadline: Instant) -> Result<i64, Refusal> {
        let found = self.numbers(statement, &[], deadline).await?;
        found.first().copied().ok_or(Refusal::Stopped)
    }

    async fn numbers(
        &self,
        statement: &Arc<Prepared>,
        values: &[i64],
        deadline: Instant,
    ) -> Result<Vec<i64>, Refusal> {
        let values = values.iter().copied().map(Cell::Integer).collect();
        let mut rows = self.database.query(statement, values, deadline, ());
        let mut numbers = Vec::new();
        while let Some(row) = rows.next().await? {
            match row.as_slice() {
                [Cell::Integer(number)] => numbers.push(*number),
                _ => return Err(Refusal::Statement("a number that is none".to_owned())),
            }
        }
        Ok(numbers)
    }

    fn sights(&self) -> std::sync::MutexGuard<'_, VecDeque<Sight>> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn number_field(name: &str) -> Field<'_> {
    Field {
        name,
        ways: 1,
        needs_all: false,
        is_text: false,
        is_bytes: false,
    }
}
