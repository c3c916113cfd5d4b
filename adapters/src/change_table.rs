//! The table with a row for each change: how far its numbers are settled.
//!
//! A row with a smaller number may be committed after one with a larger. So numbers are told only up to the first that is
//! missing, until it is proven that no transaction which is still open has taken it.

use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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

pub(crate) use definition::{definition, triggers};

/// The most numbers of one look.
const LOOK: usize = 10_000;

/// So long MariaDB may have taken a number before its row is there, locked.
const SETTLING: Duration = Duration::from_secs(3);

/// How many calls may look at once.
const CONNECTIONS: usize = 2;

/// How many sights wait to be proven, and how far they are apart at least.
const SIGHTS: usize = 16;
const APART: Duration = Duration::from_secs(1);

/// The statements over the table, and what was seen of it before.
#[derive(Debug)]
pub(crate) struct Numbers {
    database: Database,
    /// Numbers from `:from` on.
    look: Arc<Prepared>,
    /// The number `:number`, if it is there.
    find: Arc<Prepared>,
    proof: Proof,
    seen: Mutex<Seen>,
}

/// How it is proven that a number which is missing will not come any more.
#[derive(Debug)]
enum Proof {
    /// There is one writer at a time, so that numbers are committed in their order.
    OneWriter,
    /// Transactions are numbered as well. All that had a number of the table, and were open, have ended when the oldest open one
    /// is as new as one that began after.
    Transactions {
        /// The oldest that is open.
        oldest: Arc<Prepared>,
        /// One that begins now; none while a transaction without a number of its own has taken one of the table.
        newest: Arc<Prepared>,
    },
    /// A row that is not committed is locked: it is asked for with a lock, and without waiting.
    Locks(Arc<Prepared>),
}

/// What was seen of the numbers, for all calls.
#[derive(Debug, Default)]
struct Seen {
    /// All up to this one were given, and (where transactions are numbered) whoever had them has ended.
    ripe: i64,
    /// What is not ripe yet, from the oldest.
    sights: VecDeque<Sight>,
}

/// What was seen at some time.
#[derive(Debug, Clone, Copy)]
struct Sight {
    /// The largest number.
    highest: i64,
    at: Instant,
    /// The transaction that began then; 0 where they have no numbers.
    transaction: i64,
}

/// How far numbers are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// The last number up to which all is known that will ever be.
    pub(crate) until: i64,
    /// The first number that was seen: while it is there, nothing behind it is gone.
    pub(crate) first: i64,
    /// Whether there are more, behind one that is missing.
    pub(crate) more: bool,
}

impl Numbers {
    /// Has the database prepare the statements. They have connections of their own, since whoever asks may hold one that is not
    /// free before it is answered.
    ///
    /// # Errors
    /// When the database refuses them.
    pub(crate) async fn prepare(
        database: &Database,
        table: &ChangeTable,
    ) -> Result<Self, DatabaseError> {
        let database = database.apart(CONNECTIONS);
        let engine = database.engine();
        let column = &table.number;
        let number = engine.quoted(column);
        let stand_in = table.stand_in.clone();
        let table = stand_in.unwrap_or_else(|| engine.quoted_table(&table.table));
        let prepare = async |sql: &str, names: &[&str]| {
            let fields: Vec<_> = names.iter().map(|name| number_field(name)).collect();
            let parsed = Statement::parse(sql, &fields, engine);
            let statement = parsed.map_err(|_no_statement| DatabaseError::Stopped {
                detail: "a statement of the adapter's own is none",
            })?;
            database.prepare(&statement).await.map(Arc::new)
        };
        let bound = |name: &str| match engine {
            Engine::Postgresql => format!("CAST(:{name} AS bigint)"),
            Engine::Sqlite | Engine::MariaDb => format!(":{name}"),
        };
        let look = format!(
            "SELECT {number} FROM {table} WHERE {number} >= {} ORDER BY {number} LIMIT {LOOK}",
            bound("from")
        );
        let find = format!(
            "SELECT {number} FROM {table} WHERE {number} = {}",
            bound("number")
        );
        let proof = match engine {
            Engine::Sqlite => Proof::OneWriter,
            Engine::Postgresql => Proof::Transactions {
                oldest: prepare(OLDEST, &[]).await?,
                newest: prepare(&newest(&table, column), &[]).await?,
            },
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
            find: prepare(&find, &["number"]).await?,
            proof,
            seen: Mutex::default(),
        })
    }

    /// How far all is known behind `passed` (0: the beginning).
    ///
    /// # Errors
    /// `PositionUnknown` when there is no change with the number `passed`.
    pub(crate) async fn settled(&self, passed: i64, deadline: Instant) -> Result<Settled, Refusal> {
        // Before the look: what it does not see is not committed later by one of those that have ended.
        let ripe = self.ripen(deadline).await?;
        let from = passed.max(1);
        let numbers = self.numbers(&self.look, &[from], deadline).await?;
        let first = numbers.first().copied().unwrap_or(passed);
        let mut numbers = numbers.into_iter().peekable();
        if passed > 0 && numbers.next_if_eq(&passed).is_none() {
            return Err(Refusal::PositionUnknown);
        }
        let mut until = passed;
        while let Some(number) = numbers.next() {
            let missing = until + 1..=number - 1;
            let will_not_come = missing.is_empty()
                || match &self.proof {
                    Proof::OneWriter => true,
                    Proof::Transactions { .. } => number <= ripe,
                    Proof::Locks(locked) => {
                        number <= ripe && self.is_free(locked, missing, deadline).await?
                    }
                };
            if !will_not_come {
                let highest = numbers.last().unwrap_or(number);
                self.remember(highest, deadline).await?;
                return Ok(Settled {
                    until,
                    first,
                    more: true,
                });
            }
            until = number;
        }
        Ok(Settled {
            until,
            first,
            more: false,
        })
    }

    /// Whether there is a change with this number.
    pub(crate) async fn is_there(&self, number: i64, deadline: Instant) -> Result<bool, Refusal> {
        let found = self.numbers(&self.find, &[number], deadline).await?;
        Ok(!found.is_empty())
    }

    /// What is ripe now.
    async fn ripen(&self, deadline: Instant) -> Result<i64, Refusal> {
        let oldest = match &self.proof {
            Proof::Transactions { oldest, .. } if !self.seen().sights.is_empty() => {
                self.one(oldest, deadline).await?.ok_or(Refusal::Stopped)?
            }
            _ => 0,
        };
        let is_ripe = |sight: &Sight| match self.proof {
            Proof::Transactions { .. } => oldest >= sight.transaction,
            Proof::OneWriter | Proof::Locks(_) => sight.at.elapsed() >= SETTLING,
        };
        let mut seen = self.seen();
        while let Some(sight) = seen.sights.front().copied().filter(is_ripe) {
            seen.sights.pop_front();
            seen.ripe = seen.ripe.max(sight.highest);
        }
        Ok(seen.ripe)
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
        {
            let seen = self.seen();
            let newest = seen.sights.back();
            let is_known = newest
                .is_some_and(|newest| highest <= newest.highest || newest.at.elapsed() < APART);
            // When there are too many, those that wait longest are not pushed out: they would never be ripe.
            if highest <= seen.ripe || is_known || seen.sights.len() >= SIGHTS {
                return Ok(());
            }
        }
        let transaction = match &self.proof {
            Proof::Transactions { newest, .. } => self.one(newest, deadline).await?,
            Proof::OneWriter | Proof::Locks(_) => Some(0),
        };
        if let Some(transaction) = transaction {
            self.seen().sights.push_back(Sight {
                highest,
                at: Instant::now(),
                transaction,
            });
        }
        Ok(())
    }

    async fn one(
        &self,
        statement: &Arc<Prepared>,
        deadline: Instant,
    ) -> Result<Option<i64>, Refusal> {
        let found = self.numbers(statement, &[], deadline).await?;
        Ok(found.first().copied())
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

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest transaction of the server that is open.
const OLDEST: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";

/// A transaction that begins now. (`pg_snapshot_xmax` is no such one: it is behind the newest that has ended.) A transaction gets
/// its number with its first row, and may have taken one of the table before; it then holds a lock on the sequence.
fn newest(table: &str, column: &str) -> String {
    format!(
        "SELECT pg_current_xact_id()::text::bigint WHERE NOT EXISTS (SELECT FROM pg_locks AS holder \
         WHERE holder.locktype = 'relation' AND holder.pid IS NOT NULL \
         AND holder.relation = pg_get_serial_sequence('{table}', '{column}')::regclass \
         AND holder.mode = 'RowExclusiveLock' AND holder.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND NOT EXISTS (SELECT FROM pg_locks AS own WHERE own.locktype = 'transactionid' AND own.granted \
             AND own.mode = 'ExclusiveLock' AND own.virtualtransaction = holder.virtualtransaction))"
    )
}

const fn number_field(name: &str) -> Field<'_> {
    Field {
        name,
        ways: 1,
        needs_all: false,
        is_text: false,
        is_bytes: false,
        is_key: false,
    }
}
