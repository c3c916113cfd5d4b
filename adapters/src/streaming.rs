//! A streamed answer: records as the caller takes them, one by one or many in a message.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Request, Status};

use crate::{
    call_record::CallRecord, configuration::WhenNone, database::Rows, refusal::Refusal,
    served_method::ServedMethod,
};

/// Where a message with many records is full, whatever it may have.
const BATCH_BYTES: usize = 256 * 1024;

/// An answer that has begun.
pub(crate) struct Answer {
    rows: Rows,
    /// A record that was read and not yet sent.
    first: Option<DynamicMessage>,
}

/// The messages of an answer.
pub(crate) type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl ServedMethod {
    /// The first record is read before the answer begins, so that a refusal comes alone.
    pub(crate) async fn begin_stream(&self, request: &Request<Bytes>) -> Result<Answer, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let parameters = self.parameters(request.get_ref())?;
        let mut rows = self
            .database
            .query(&self.statement, parameters, deadline, admission);
        let first = match rows.next().await? {
            Some(row) => Some(self.reply(row, 1)?),
            None if self.method.when_none == WhenNone::NotFound => return Err(Refusal::NoRecord),
            None => None,
        };
        Ok(Answer { rows, first })
    }

    /// The next message of a stream, and how many records it has.
    async fn next_message(
        &self,
        answer: &mut Answer,
        sent: u64,
    ) -> Result<Option<(DynamicMessage, u64)>, Refusal> {
        let Some((batch, field)) = &self.batch else {
            let record = self.next_record(answer, sent).await?;
            return Ok(record.map(|record| (record, 1)));
        };
        let full = BATCH_BYTES.min(self.limits.reply_bytes);
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < self.method.rows_per_message {
            let Some(record) = self
                .next_record(answer, sent + records.len() as u64)
                .await?
            else {
                break;
            };
            // With its tag and its length.
            bytes += record.encoded_len() + 6;
            if bytes > full && !records.is_empty() {
                answer.first = Some(record);
                break;
            }
            records.push(Value::Message(record));
        }
        let count = records.len() as u64;
        if count == 0 {
            return Ok(None);
        }
        let mut message = DynamicMessage::new(batch.clone());
        message.set_field(field, Value::List(records));
        if message.encoded_len() > self.limits.reply_bytes {
            return Err(Refusal::ReplyTooLarge(self.limits.reply_bytes));
        }
        Ok(Some((message, count)))
    }

    async fn next_record(
        &self,
        answer: &mut Answer,
        sent: u64,
    ) -> Result<Option<DynamicMessage>, Refusal> {
        if let Some(first) = answer.first.take() {
            return Ok(Some(first));
        }
        match answer.rows.next().await? {
            None => Ok(None),
            Some(_) if sent >= self.method.max_rows => Err(Refusal::RowLimit(self.method.max_rows)),
            Some(row) => self.reply(row, sent + 1).map(Some),
        }
    }
}

/// The rows of an answer as they are asked for; the record is closed with the last one.
pub(crate) fn remaining(served: Arc<ServedMethod>, answer: Answer, record: CallRecord) -> Messages {
    let state = Some((served, answer, record));
    let replies = stream::unfold(state, |state| async move {
        let (served, mut answer, mut record) = state?;
        match served.next_message(&mut answer, record.rows()).await {
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
