//! A stream of what has changed: from where the caller was, in order, each change once, and on as they come.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot, watch},
    time::{Instant, sleep, timeout_at},
};
use tonic::Request;

use crate::{
    call_record::CallRecord,
    change_table::Numbers,
    configuration::{AFTER, FOLLOW},
    database::Rows,
    field_type::Cell,
    refusal::Refusal,
    served_method::ServedMethod,
    streaming::{Batch, Messages},
};

/// How often a stream that waits looks for more.
const POLL: Duration = Duration::from_secs(1);

/// So long one that does not wait for what comes waits for a number that is missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a method of this kind has besides.
#[derive(Debug)]
pub(crate) struct ServedChanges {
    pub(crate) numbers: Numbers,
    /// Where a row has its number.
    pub(crate) column: usize,
    /// The message, and its fields.
    pub(crate) message: MessageDescriptor,
    pub(crate) records: FieldDescriptor,
    pub(crate) position: FieldDescriptor,
    /// Whether the adapter is to end.
    pub(crate) stopping: watch::Receiver<bool>,
}

/// A stream that has begun.
pub(crate) struct Feed {
    served: Arc<ServedMethod>,
    /// What the caller has asked for, and the grant's filters.
    values: Vec<Cell>,
    follows: bool,
    deadline: Instant,
    /// The number of the last change that was sent, or that the caller had before.
    sent: i64,
    /// The number up to which all was read.
    read: i64,
    /// What is read now.
    reading: Option<Reading>,
    /// A record that has no place in the message before, and its number.
    next: Option<(i64, DynamicMessage)>,
    records: u64,
    /// Since when it waits for a number that is missing.
    held_back: Option<Instant>,
    /// Whether all is told that will be.
    has_ended: bool,
    /// What ended it, to be told behind what was read before.
    refused: Option<Refusal>,
    /// Gives the place of the call back when the stream ends.
    _place: oneshot::Sender<()>,
}

/// Changes on their way from the database.
struct Reading {
    rows: Rows,
    /// Up to which number.
    until: i64,
    /// A number that must still be there when the first row is: old rows may be deleted before.
    unproven: Option<i64>,
}

impl ServedMethod {
    /// The stream behind the point that the request names.
    pub(crate) fn begin_changes(
        self: &Arc<Self>,
        request: &Request<Bytes>,
    ) -> Result<Feed, Refusal> {
        let deadline = self.deadline(request.metadata());
        let place = until_ended(self.admit()?, deadline);
        let message = self.read_request(request.get_ref())?;
        let values = self.parameters(&message)?;
        let field = |name| message.get_field_by_name(name);
        let after = field(AFTER);
        let after = match after.as_deref().and_then(Value::as_str).unwrap_or_default() {
            "" => 0,
            written => position(written).ok_or_else(|| Refusal::Invalid {
                field: AFTER.to_owned(),
                expected: "the position of a message that was received, as it stands there",
            })?,
        };
        Ok(Feed {
            served: Arc::clone(self),
            values,
            follows: field(FOLLOW).as_deref().and_then(Value::as_bool) == Some(true),
            deadline,
            sent: after,
            read: after,
            reading: None,
            next: None,
            records: 0,
            held_back: None,
            has_ended: false,
            refused: None,
            _place: place,
        })
    }
}

impl Feed {
    /// The messages to the end; the record of the call is closed with the last one.
    pub(crate) fn into_messages(self, record: CallRecord) -> Messages {
        let messages = stream::unfold(Some((self, record)), |state| async move {
            let (mut feed, mut record) = state?;
            match feed.message().await {
                Ok(Some((message, records))) => {
                    record.add_rows(records);
                    Some((Ok(message), Some((feed, record))))
                }
                Ok(None) => {
                    record.answered();
                    None
                }
                Err(refusal) => Some((Err(record.refused(&refusal)), None)),
            }
        });
        messages.boxed()
    }

    /// The next message and how many records it has.
    async fn message(&mut self) -> Result<Option<(DynamicMessage, u64)>, Refusal> {
        while !self.has_ended {
            if let Some(refusal) = self.refused.take() {
                return self.end(refusal);
            }
            let batch = self.batch().await;
            let records = batch.count();
            if records > 0 {
                self.records += records;
                let message = self.with_position(batch)?;
                return Ok(Some((message, records)));
            }
            match self.waits_for_more().await {
                Ok(true) => {}
                Ok(false) => return self.last_position(),
                Err(refusal) => self.refused = Some(refusal),
            }
        }
        Ok(None)
    }

    /// The records of the next message: what was read before something went wrong is told first.
    async fn batch(&mut self) -> Batch {
        let mut batch = Batch::of(&self.served);
        while self.refused.is_none()
            && !batch.is_full()
            && self.records + batch.count() < self.served.method.max_rows
        {
            match self.record(batch.count()).await {
                Ok(None) => break,
                Ok(Some((number, record))) => match batch.add(record) {
                    Ok(()) => self.sent = number,
                    Err(record) => {
                        self.next = Some((number, *record));
                        break;
                    }
                },
                Err(refusal) => self.refused = Some(refusal),
            }
        }
        batch
    }

    /// Time that is over ends a stream well that has come further, and can be gone on with from there.
    fn end(&mut self, refusal: Refusal) -> Result<Option<(DynamicMessage, u64)>, Refusal> {
        let has_come_further = self.records > 0 || self.read > self.sent;
        match refusal {
            Refusal::Deadline if has_come_further => {
                self.reading = None;
                self.last_position()
            }
            refusal => Err(refusal),
        }
    }

    /// What is not for this caller need not be looked through again.
    fn last_position(&mut self) -> Result<Option<(DynamicMessage, u64)>, Refusal> {
        self.has_ended = true;
        // Here `read` is the end of what was looked through, and not a record that was put aside.
        if self.read <= self.sent || self.next.is_some() || self.reading.is_some() {
            return Ok(None);
        }
        self.sent = self.read;
        let message = self.with_position(Batch::of(&self.served))?;
        Ok(Some((message, 0)))
    }

    /// Whether there is, or may be, something to read.
    async fn waits_for_more(&mut self) -> Result<bool, Refusal> {
        if self.records >= self.served.method.max_rows {
            return Ok(false);
        }
        let changes = self.changes()?;
        let mut stopping = changes.stopping.clone();
        let settled = changes.numbers.settled(self.read, self.deadline).await?;
        let until = settled.until;
        if until > self.read {
            let bounds = [self.read, until].map(Cell::Integer);
            let values = [self.values.as_slice(), &bounds].concat();
            let (database, statement) = (&self.served.database, &self.served.statement);
            let rows = database.query(statement, values, self.deadline, ());
            self.reading = Some(Reading {
                rows,
                until,
                unproven: Some(settled.first),
            });
            self.held_back = None;
            return Ok(true);
        }
        let now = Instant::now();
        let is_patient = settled.more && *self.held_back.get_or_insert(now) + PATIENCE > now;
        // One more look must have its time.
        if !(self.follows || is_patient) || now + POLL * 2 >= self.deadline || *stopping.borrow() {
            return Ok(false);
        }
        tokio::select! {
            () = sleep(POLL) => Ok(true),
            _stopping = stopping.wait_for(|stopping| *stopping) => Ok(false),
        }
    }

    /// The next record of what is read now.
    async fn record(&mut self, before: u64) -> Result<Option<(i64, DynamicMessage)>, Refusal> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let Some(reading) = &mut self.reading else {
            return Ok(None);
        };
        let until = reading.until;
        let row = reading.rows.next().await?;
        // What the statement sees is certain with its first row, and not before.
        if let Some(number) = reading.unproven.take() {
            let numbers = &self.changes()?.numbers;
            if !numbers.is_there(number, self.deadline).await? {
                return Err(Refusal::PositionUnknown);
            }
        }
        let Some(row) = row else {
            (self.read, self.reading) = (until, None);
            return Ok(None);
        };
        let number = match row.get(self.changes()?.column) {
            Some(Cell::Integer(number)) if (self.read + 1..=until).contains(number) => *number,
            _ => return Err(Refusal::Order),
        };
        self.read = number;
        let record = self.served.reply(row, self.records + before + 1)?;
        Ok(Some((number, record)))
    }

    fn with_position(&self, batch: Batch) -> Result<DynamicMessage, Refusal> {
        let changes = self.changes()?;
        let mut message = DynamicMessage::new(changes.message.clone());
        if batch.count() > 0 {
            message.set_field(&changes.records, batch.into_value());
        }
        message.set_field(&changes.position, Value::String(self.sent.to_string()));
        self.served.must_fit(&message)?;
        Ok(message)
    }

    fn changes(&self) -> Result<&ServedChanges, Refusal> {
        self.served.changes.as_ref().ok_or(Refusal::Stopped)
    }
}

/// The place of a call until its stream ends, but not beyond its deadline, however slowly its caller reads.
fn until_ended(place: OwnedSemaphorePermit, deadline: Instant) -> oneshot::Sender<()> {
    let (ends, ended) = oneshot::channel();
    tokio::spawn(async move {
        let _ = timeout_at(deadline, ended).await;
        drop(place);
    });
    ends
}

/// A number as it was written here: in no other way.
fn position(written: &str) -> Option<i64> {
    let number: i64 = written.parse().ok()?;
    (number > 0 && number.to_string() == written).then_some(number)
}
