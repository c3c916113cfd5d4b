//! A streamed answer: records as the caller takes them, one by one or many in a message.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Request, Status};

use crate::{
    call_record::CallRecord, configuration::WhenNone, database::Rows, refusal::Refusal,
    request::Wanted, served_method::ServedMethod,
};

/// Where a message with many records is full, whatever it may have.
const BATCH_BYTES: usize = 256 * 1024;

/// An answer that has begun.
pub(crate) struct Answer {
    rows: Rows,
    /// How many of them were read.
    read: u64,
    /// What they are compared with.
    wanted: Wanted,
    /// A record that was read and not yet sent.
    first: Option<DynamicMessage>,
}

/// The messages of an answer.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

/// Records for one message, as many as it may have.
pub(crate) struct Batch {
    records: Vec<Value>,
    bytes: usize,
    most_records: usize,
    most_bytes: usize,
}

impl Batch {
    pub(crate) fn of(served: &ServedMethod) -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
            most_records: served.method.rows_per_message,
            most_bytes: BATCH_BYTES.min(served.limits.reply_bytes),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= self.most_records
    }

    pub(crate) fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// Adds a record, or gives it back for the next message; the first one always has a place.
    pub(crate) fn add(&mut self, record: DynamicMessage) -> Result<(), Box<DynamicMessage>> {
        // With its tag and its length.
        self.bytes += record.encoded_len() + 6;
        if self.bytes > self.most_bytes && !self.records.is_empty() {
            return Err(Box::new(record));
        }
        self.records.push(Value::Message(record));
        Ok(())
    }

    pub(crate) fn into_value(self) -> Value {
        Value::List(self.records)
    }
}

impl ServedMethod {
    /// The first record is read before the answer begins, so that a refusal comes alone.
    pub(crate) async fn begin_stream(&self, request: &Request<Bytes>) -> Result<Answer, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let message = self.read_request(request.get_ref())?;
        let parameters = self.parameters(&message)?;
        let wanted = self.wanted(&message)?;
        let rows = self
            .database
            .query(&self.statement, parameters, deadline, admission);
        let mut answer = Answer {
            rows,
            read: 0,
            wanted,
            first: None,
        };
        answer.first = self.next_record(&mut answer).await?;
        match (&answer.first, self.method.when_none) {
            (None, WhenNone::NotFound) => Err(Refusal::NoRecord),
            _ => Ok(answer),
        }
    }

    /// The next message of a stream, and how many records it has.
    async fn next_message(
        &self,
        answer: &mut Answer,
    ) -> Result<Option<(DynamicMessage, u64)>, Refusal> {
        let Some((batch, field)) = &self.batch else {
            let record = self.next_record(answer).await?;
            return Ok(record.map(|record| (record, 1)));
        };
        let mut records = Batch::of(self);
        while !records.is_full() {
            let Some(record) = self.next_record(answer).await? else {
                break;
            };
            if let Err(record) = records.add(record) {
                answer.first = Some(*record);
                break;
            }
        }
        let count = records.count();
        if count == 0 {
            return Ok(None);
        }
        let mut message = DynamicMessage::new(batch.clone());
        message.set_field(field, records.into_value());
        self.must_fit(&message)?;
        Ok(Some((message, count)))
    }

    /// A message that is not too large.
    pub(crate) fn must_fit(&self, message: &DynamicMessage) -> Result<(), Refusal> {
        let limit = self.limits.reply_bytes;
        match message.encoded_len() > limit {
            true => Err(Refusal::ReplyTooLarge(limit)),
            false => Ok(()),
        }
    }

    async fn next_record(&self, answer: &mut Answer) -> Result<Option<DynamicMessage>, Refusal> {
        if let Some(first) = answer.first.take() {
            return Ok(Some(first));
        }
        while let Some(row) = answer.rows.next().await? {
            answer.read += 1;
            if answer.read > self.method.max_rows {
                return Err(Refusal::RowLimit(self.method.max_rows));
            }
            if self.is_wanted(&answer.wanted, &row, answer.read)? {
                return self.reply(row, answer.read).map(Some);
            }
        }
        Ok(None)
    }
}

/// The rows of an answer as they are asked for; the record is closed with the last one.
pub(crate) fn remaining(served: Arc<ServedMethod>, answer: Answer, record: CallRecord) -> Messages {
    let state = Some((served, answer, record));
    let replies = stream::unfold(state, |state| async move {
        let (served, mut answer, mut record) = state?;
        match served.next_message(&mut answer).await {
            Ok(Some((reply, rows))) => {
                record.add_rows(rows);
                Some((Ok(reply), Some((served, answer, record))))
            }
            Ok(None) => {
                record.answered();
                None
            }
            Err(refusal) => Some((Err(record.refused(&refusal)), None)),
        }
    });
    replies.boxed()
}
