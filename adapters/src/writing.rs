//! A method that writes: all of its steps or none, once for each key, and what it answered is kept with them.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::time::{Instant, timeout_at};

use crate::{
    database::{Database, DatabaseError, Prepared, Transaction},
    field_type::Cell,
    key_table::{CallKey, KeyTable},
    refusal::Refusal,
};

/// How often a call is tried again whose key another call took and then gave back.
const ATTEMPTS: usize = 3;

/// What a method writes, prepared.
#[derive(Debug)]
pub(crate) struct ServedWrite {
    pub(crate) database: Database,
    pub(crate) steps: Vec<ServedStep>,
    /// Whether a step calls a procedure, which may do anything.
    pub(crate) calls: bool,
    /// What finds the answer, asked in the same transaction.
    pub(crate) answer: Arc<Prepared>,
    pub(crate) once: ServedOnce,
}

/// A step, prepared.
#[derive(Debug)]
pub(crate) struct ServedStep {
    pub(crate) name: String,
    pub(crate) statement: Prepared,
    pub(crate) rows: Option<u64>,
}

/// How a call that is repeated is known.
#[derive(Debug)]
pub(crate) enum ServedOnce {
    /// By the key that it came with.
    Key(Box<KeyTable>),
    /// By what it would write, which the answer finds.
    NaturalKey,
}

/// One call of a method that writes.
pub(crate) struct WriteCall {
    pub(crate) values: Vec<Cell>,
    /// What it is known by, if by a key, and the field that it came in.
    pub(crate) key: Option<(String, CallKey)>,
    pub(crate) reply: MessageDescriptor,
    pub(crate) deadline: Instant,
}

/// Why the steps were not all done, and what follows.
enum Failed {
    /// Nothing is done, and nothing is to be found.
    Refused(Refusal),
    /// Somebody has done this, or something like it, before.
    KnownBefore(Refusal),
}

impl ServedWrite {
    /// Carries out a call, or answers what it was answered before.
    ///
    /// The steps, the key and the reply last together or not at all. Not to be dropped midway: a caller who goes away does
    /// not end it.
    pub(crate) async fn carry_out(
        &self,
        call: &WriteCall,
        answer: impl Fn(Vec<Cell>) -> Result<DynamicMessage, Refusal>,
    ) -> Result<DynamicMessage, Refusal> {
        let mut refusal = Refusal::DatabaseLocked;
        for _ in 0..ATTEMPTS {
            match self.attempt(call, &answer).await {
                Ok(reply) => return Ok(reply),
                Err(Failed::Refused(refusal)) => return Err(refusal),
                Err(Failed::KnownBefore(conflict)) => match self.find(call, &answer).await? {
                    Some(reply) => return Ok(reply),
                    None => refusal = conflict,
                },
            }
        }
        Err(refusal)
    }

    async fn attempt(
        &self,
        call: &WriteCall,
        answer: &impl Fn(Vec<Cell>) -> Result<DynamicMessage, Refusal>,
    ) -> Result<DynamicMessage, Failed> {
        let mut transaction = self.begin(call).await?;
        let done = timeout_at(call.deadline, self.steps(&mut transaction, call, answer)).await;
        match done {
            Ok(Ok(reply)) => match transaction.commit().await {
                Ok(()) => Ok(reply),
                // What some databases look at only now, and then take everything back.
                Err(DatabaseError::Conflict { .. }) => {
                    Err(Failed::Refused(Refusal::Conflict("commit".to_owned())))
                }
                Err(DatabaseError::Constraint { .. }) => {
                    Err(Failed::Refused(Refusal::Constraint("commit".to_owned())))
                }
                Err(DatabaseError::Locked) => Err(Failed::Refused(Refusal::DatabaseLocked)),
                Err(_lost) => Err(Failed::Refused(Refusal::OutcomeUnknown)),
            },
            Ok(Err(failed)) => {
                let failed = self.whole_or_not(&mut transaction, failed).await;
                // If that fails the connection is closed, which takes everything back as well.
                let _ = transaction.roll_back().await;
                Err(failed)
            }
            Err(_out_of_time) => {
                transaction.abandon().await;
                // What a procedure did until then is known to itself only.
                Err(Failed::Refused(match self.calls {
                    true => Refusal::OutcomeUnknown,
                    false => Refusal::Deadline,
                }))
            }
        }
    }

    /// "Nothing was changed" is true only if no procedure has ended the transaction before.
    async fn whole_or_not(&self, transaction: &mut Transaction, failed: Failed) -> Failed {
        if !self.calls || matches!(failed, Failed::KnownBefore(_)) {
            return failed;
        }
        match transaction.is_whole().await {
            Ok(true) => failed,
            // A deadlock takes the whole transaction back, and its savepoint with it; a lock that is waited for too long does
            // not. Which of the two it was after a COMMIT of the procedure's own is not known.
            Ok(false) if matches!(failed, Failed::Refused(Refusal::DatabaseLocked)) => {
                Failed::Refused(Refusal::OutcomeUnknown)
            }
            Ok(false) => Failed::Refused(Refusal::NotWhole),
            Err(_lost) => Failed::Refused(Refusal::OutcomeUnknown),
        }
    }

    async fn begin(&self, call: &WriteCall) -> Result<Transaction, Failed> {
        let time = call.deadline.saturating_duration_since(Instant::now());
        match timeout_at(call.deadline, self.database.begin(time)).await {
            Ok(begun) => begun.map_err(|error| Failed::Refused(error.into())),
            Err(_out_of_time) => Err(Failed::Refused(Refusal::Deadline)),
        }
    }

    async fn steps(
        &self,
        transaction: &mut Transaction,
        call: &WriteCall,
        answer: &impl Fn(Vec<Cell>) -> Result<DynamicMessage, Refusal>,
    ) -> Result<DynamicMessage, Failed> {
        // The key first: of two calls with the same one, the second waits here for the end of the first.
        match (&self.once, &call.key) {
            (ServedOnce::Key(table), Some((_, key))) => table.take(transaction, key).await?,
            (ServedOnce::Key(_), None) => return Err(Failed::Refused(Refusal::Unreadable)),
            (ServedOnce::NaturalKey, _) => {
                if let Some(reply) = self.answer(transaction, call, answer).await? {
                    return Ok(reply);
                }
            }
        }
        for step in &self.steps {
            step.run(transaction, call).await?;
        }
        let reply = self.answer(transaction, call, answer).await?;
        let reply = reply.ok_or(Failed::Refused(Refusal::NoRecord))?;
        if !transaction.is_whole().await.map_err(refused)? {
            return Err(Failed::Refused(Refusal::NotWhole));
        }
        if let (ServedOnce::Key(table), Some((_, key))) = (&self.once, &call.key) {
            let kept = key.place_and(Cell::Blob(reply.encode_to_vec().into()));
            transaction
                .execute(&table.keep, &kept)
                .await
                .map_err(refused)?;
        }
        Ok(reply)
    }

    /// The one record that the method answers with, if it is there.
    async fn answer(
        &self,
        transaction: &mut Transaction,
        call: &WriteCall,
        answer: &impl Fn(Vec<Cell>) -> Result<DynamicMessage, Refusal>,
    ) -> Result<Option<DynamicMessage>, Failed> {
        let mut rows = transaction
            .fetch(&self.answer, &call.values)
            .await
            .map_err(refused)?;
        match (rows.pop(), rows.is_empty()) {
            (None, _) => Ok(None),
            (Some(row), true) => answer(row).map(Some).map_err(Failed::Refused),
            (Some(_), false) => Err(Failed::Refused(Refusal::SeveralRecords {
                count: 2,
                exact: false,
            })),
        }
    }

    /// What an earlier call was answered; none if it was taken back in the meantime.
    async fn find(
        &self,
        call: &WriteCall,
        answer: &impl Fn(Vec<Cell>) -> Result<DynamicMessage, Refusal>,
    ) -> Result<Option<DynamicMessage>, Refusal> {
        let failed = |failed| match failed {
            Failed::Refused(refusal) | Failed::KnownBefore(refusal) => refusal,
        };
        let mut transaction = self.begin(call).await.map_err(failed)?;
        let found = async {
            match (&self.once, &call.key) {
                (ServedOnce::Key(table), Some((field, key))) => {
                    let rows = transaction.fetch(&table.find, &key.place()).await?;
                    let known = rows.into_iter().next();
                    known
                        .map(|row| known_reply(row, field, key, call))
                        .transpose()
                }
                _ => self
                    .answer(&mut transaction, call, answer)
                    .await
                    .map_err(failed),
            }
        };
        let Ok(found) = timeout_at(call.deadline, found).await else {
            transaction.abandon().await;
            return Err(Refusal::Deadline);
        };
        // Nothing was changed in it.
        let _ = transaction.roll_back().await;
        found
    }
}

impl KeyTable {
    async fn take(&self, transaction: &mut Transaction, key: &CallKey) -> Result<(), Failed> {
        let values = key.place_and(Cell::Blob(Bytes::copy_from_slice(&key.request)));
        match transaction.execute(&self.take, &values).await {
            Ok(_one) => Ok(()),
            Err(DatabaseError::Conflict { .. }) => {
                Err(Failed::KnownBefore(Refusal::DatabaseLocked))
            }
            Err(error) => Err(refused(error)),
        }
    }
}

impl ServedStep {
    async fn run(&self, transaction: &mut Transaction, call: &WriteCall) -> Result<(), Failed> {
        let name = || self.name.clone();
        let changed = match transaction.execute(&self.statement, &call.values).await {
            Ok(changed) => changed,
            Err(DatabaseError::Conflict { .. }) if call.key.is_none() => {
                return Err(Failed::KnownBefore(Refusal::Conflict(name())));
            }
            Err(DatabaseError::Conflict { .. }) => {
                return Err(Failed::Refused(Refusal::Conflict(name())));
            }
            Err(DatabaseError::Constraint { .. }) => {
                return Err(Failed::Refused(Refusal::Constraint(name())));
            }
            Err(error) => return Err(refused(error)),
        };
        match self.rows {
            Some(wanted) if wanted != changed => Err(Failed::Refused(Refusal::StepRows {
                step: name(),
                wanted,
                changed,
            })),
            _ => Ok(()),
        }
    }
}

/// The reply that was kept for a key, if it was for the same request.
fn known_reply(
    row: Vec<Cell>,
    field: &str,
    key: &CallKey,
    call: &WriteCall,
) -> Result<DynamicMessage, Refusal> {
    let mut row = row.into_iter();
    match (row.next(), row.next()) {
        (Some(Cell::Blob(request)), _) if *request != key.request => {
            Err(Refusal::KeyReused(field.to_owned()))
        }
        (Some(Cell::Blob(_)), Some(Cell::Blob(reply))) => {
            DynamicMessage::decode(call.reply.clone(), reply).map_err(|_| Refusal::OutcomeUnknown)
        }
        // A key without a reply is of a transaction that a statement ended by itself.
        _ => Err(Refusal::NotWhole),
    }
}

fn refused(error: DatabaseError) -> Failed {
    Failed::Refused(error.into())
}
