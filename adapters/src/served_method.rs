//! A method with everything that answering it takes: what a call costs, one record, one write.

use std::{slice, sync::Arc, time::Duration};

use bytes::Bytes;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{Request, metadata::MetadataMap};

use crate::{
    changes::ServedChanges,
    column::{ColumnRules, Read},
    configuration::{Limits, Method, RequestField},
    database::{Database, Prepared},
    encoding::Undecodable,
    field_type::{Cell, FieldType},
    folding::Ignoring,
    monitoring,
    refusal::Refusal,
    statement::Width,
    writing::{ServedWrite, WriteCall},
};

/// A method with everything that answering it takes; made once, shared by its calls.
#[derive(Debug)]
pub(crate) struct ServedMethod {
    pub(crate) method: Method,
    /// The name of the grant that it is answered under; empty without grants.
    pub(crate) grant: String,
    pub(crate) request: MessageDescriptor,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) columns: Vec<ReplyColumn>,
    /// What the rows are compared with after they were read.
    pub(crate) folded: Vec<Folded>,
    /// One record.
    pub(crate) reply: MessageDescriptor,
    /// The message with many of them, and its field, if it is one.
    pub(crate) batch: Option<(MessageDescriptor, FieldDescriptor)>,
    /// Where the names of fields go that could not all be understood.
    pub(crate) undecodable: Option<FieldDescriptor>,
    /// Where the names of fields go that are withheld.
    pub(crate) withheld: Option<FieldDescriptor>,
    pub(crate) database: Database,
    pub(crate) statement: Arc<Prepared>,
    /// What is written before the answer; none if the method only reads.
    pub(crate) write: Option<ServedWrite>,
    /// Where its changes are found; none if it is of another kind.
    pub(crate) changes: Option<ServedChanges>,
    pub(crate) limits: Limits,
    pub(crate) admission: Arc<Semaphore>,
}

/// Where a parameter stands in the request message, and how it is bound.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) field: RequestField,
    pub(crate) width: Width,
}

/// A request field that is compared with a reply field.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) required: bool,
    /// The position of the reply field among the columns.
    pub(crate) column: usize,
    pub(crate) ignoring: Ignoring,
}

/// Where columns of the statement go in the reply message.
#[derive(Debug)]
pub(crate) struct ReplyColumn {
    pub(crate) positions: Vec<usize>,
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) field_type: FieldType,
    pub(crate) rules: ColumnRules,
}

impl ReplyColumn {
    /// What a row has for the field.
    pub(crate) fn read(&self, row: &[Cell], number: u64) -> Result<Read, Refusal> {
        let cell = |position: &usize| row.get(*position).unwrap_or(&Cell::Null);
        let read = match self.positions.as_slice() {
            [one] => self.rules.read(self.field_type, slice::from_ref(cell(one))),
            several => {
                let cells: Vec<_> = several.iter().map(cell).cloned().collect();
                self.rules.read(self.field_type, &cells)
            }
        };
        read.map_err(|mismatch| Refusal::Value {
            field: self.descriptor.name().to_owned(),
            row: number,
            expected: mismatch.expected,
            found: mismatch.found,
        })
    }
}

impl ServedMethod {
    /// Exactly one record, or a refusal that says how many there are.
    pub(crate) async fn answer_one(
        &self,
        request: &Request<Bytes>,
    ) -> Result<DynamicMessage, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let message = self.read_request(request.get_ref())?;
        let parameters = self.parameters(&message)?;
        let wanted = self.wanted(&message)?;
        let mut rows = self
            .database
            .query(&self.statement, parameters, deadline, admission);
        let (mut read, mut count) = (0, 0);
        let mut found = None;
        while let Some(row) = rows.next().await? {
            read += 1;
            if read > self.method.max_rows {
                return Err(match wanted.is_everything() {
                    true => Refusal::SeveralRecords {
                        count: read,
                        exact: false,
                    },
                    // How many of the others would be the same is not known.
                    false => Refusal::RowLimit(self.method.max_rows),
                });
            }
            // Of several only the number is told, and nothing of them is read for that.
            if self.is_wanted(&wanted, &row, read)? {
                count += 1;
                found.get_or_insert(row);
            }
        }
        match (found, count) {
            (None, _) => Err(Refusal::NoRecord),
            (Some(row), 1) => self.reply(row, 1),
            (Some(_), _) => Err(Refusal::SeveralRecords { count, exact: true }),
        }
    }

    /// Carries out what a method writes; a caller who goes away does not end it midway.
    pub(crate) async fn write_one(
        self: &Arc<Self>,
        request: &Request<Bytes>,
    ) -> Result<DynamicMessage, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let message = self.read_request(request.get_ref())?;
        let values = self.parameters(&message)?;
        let key = self.call_key(request.metadata(), &message)?;
        let reply = self.reply.clone();
        let served = Arc::clone(self);
        let carried_out = tokio::spawn(async move {
            let call = WriteCall {
                values,
                key,
                reply,
                deadline,
            };
            let write = served.write.as_ref().ok_or(Refusal::Stopped)?;
            let done = write.carry_out(&call, |row| served.reply(row, 1)).await;
            drop(admission);
            done
        });
        // A task that ends without a word may have ended anywhere.
        carried_out.await.unwrap_or(Err(Refusal::OutcomeUnknown))
    }

    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.admission)
            .try_acquire_owned()
            .map_err(|_full| Refusal::Busy(self.limits.concurrent_calls))
    }

    /// The method's own time, or the caller's if that is shorter.
    pub(crate) fn deadline(&self, metadata: &MetadataMap) -> Instant {
        let asked = metadata
            .get("grpc-timeout")
            .and_then(|timeout| timeout.to_str().ok());
        let allowed = asked
            .and_then(grpc_timeout)
            .map_or(self.method.timeout, |asked| {
                // The transport has a timer of its own that would say CANCELLED: be a little earlier.
                let earlier = asked.saturating_sub((asked / 10).min(Duration::from_millis(20)));
                earlier.min(self.method.timeout)
            });
        Instant::now() + allowed
    }

    pub(crate) fn reply(&self, row: Vec<Cell>, number: u64) -> Result<DynamicMessage, Refusal> {
        let mut message = DynamicMessage::new(self.reply.clone());
        let mut undecodable = Vec::new();
        for column in &self.columns {
            let read = column.read(&row, number)?;
            if read.undecodable > 0 {
                monitoring::count_undecodable(&self.method.name, column.descriptor.name());
            }
            if read.undecodable > 0 && column.rules.text.undecodable == Undecodable::Report {
                undecodable.push(Value::String(column.descriptor.name().to_owned()));
            }
            let value = read
                .value
                .and_then(|content| content.value(&column.descriptor));
            if let Some(value) = value {
                message.set_field(&column.descriptor, value);
            }
        }
        if let Some(names) = self
            .undecodable
            .as_ref()
            .filter(|_| !undecodable.is_empty())
        {
            message.set_field(names, Value::List(undecodable));
        }
        if let (Some(field), false) = (&self.withheld, self.method.withheld.is_empty()) {
            let names = self.method.withheld.iter().cloned().map(Value::String);
            message.set_field(field, Value::List(names.collect()));
        }
        self.must_fit(&message)?;
        Ok(message)
    }
}

/// The `grpc-timeout` header: up to eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_timeout_is_read_as_grpc_writes_it() {
        assert_eq!(grpc_timeout("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(
            grpc_timeout("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for wrong in ["", "m", "1", "123456789S", "-1S", "1x", "1µ"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong:?}");
        }
    }
}
