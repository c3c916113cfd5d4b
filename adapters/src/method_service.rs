//! One method as a gRPC service: request to parameters, statement to rows, rows to replies.

use std::{
    convert::Infallible,
    pin::Pin,
    slice,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, StdError},
    metadata::MetadataMap,
    server::{Grpc, ServerStreamingService, UnaryService},
};
use trust::Digest;

use crate::{
    call_record::CallRecord,
    codec::DynamicCodec,
    column::ColumnRules,
    configuration::{Limits, Method, MethodKind, Once, RequestField, WhenNone},
    database::{Database, Prepared, Rows},
    encoding::Undecodable,
    field_type::{Cell, FieldType},
    granting::GrantedMethod,
    key_table::{CallKey, LONGEST_CONSUMER, LONGEST_KEY},
    monitoring,
    refusal::Refusal,
    statement::Width,
    writing::{ServedWrite, WriteCall},
};

/// A method with everything that answering it takes; made once, shared by its calls.
#[derive(Debug)]
pub(crate) struct ServedMethod {
    pub(crate) method: Method,
    pub(crate) request: MessageDescriptor,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) columns: Vec<ReplyColumn>,
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

/// Where columns of the statement go in the reply message.
#[derive(Debug)]
pub(crate) struct ReplyColumn {
    pub(crate) positions: Vec<usize>,
    pub(crate) descriptor: FieldDescriptor,
    pub(crate) field_type: FieldType,
    pub(crate) rules: ColumnRules,
}

/// The gRPC service of one method path.
#[derive(Debug, Clone)]
pub(crate) struct MethodService(pub(crate) Arc<GrantedMethod>);

impl ServedMethod {
    /// Exactly one record, or a refusal that says how many there are.
    async fn answer_one(&self, request: &Request<Bytes>) -> Result<DynamicMessage, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let parameters = self.parameters(request.get_ref())?;
        let mut rows = self
            .database
            .query(&self.statement, parameters, deadline, admission);
        let row = rows.next().await?.ok_or(Refusal::NoRecord)?;
        let mut count = 1;
        while rows.next().await?.is_some() {
            count += 1;
            if count > self.method.max_rows {
                return Err(Refusal::SeveralRecords {
                    count,
                    exact: false,
                });
            }
        }
        match count {
            1 => self.reply(row, 1),
            _ => Err(Refusal::SeveralRecords { count, exact: true }),
        }
    }

    /// The first record is read before the answer begins, so that a refusal comes alone.
    async fn begin_stream(&self, request: &Request<Bytes>) -> Result<Answer, Refusal> {
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

    /// A value that the database cannot hold is a mistake in the request field that it comes from.
    fn refused_value(&self, value: usize, expected: &'static str) -> Refusal {
        let mut end = 0;
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|parameter| {
            end += parameter.width.count();
            value < end
        });
        Refusal::Invalid {
            field: found.map_or_else(String::new, |found| found.field.name.clone()),
            expected,
        }
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.admission)
            .try_acquire_owned()
            .map_err(|_full| Refusal::Busy(self.limits.concurrent_calls))
    }

    /// The method's own time, or the caller's if that is shorter.
    fn deadline(&self, metadata: &MetadataMap) -> Instant {
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

    /// The parameters of the statement, in order; absent ones are NULL.
    fn parameters(&self, request: &Bytes) -> Result<Vec<Cell>, Refusal> {
        let message = DynamicMessage::decode(self.request.clone(), request.clone())
            .map_err(|_undecodable| Refusal::Unreadable)?;
        if let Some(unknown) = message.unknown_fields().next() {
            return Err(Refusal::UnknownField(unknown.number()));
        }
        let cells = |parameter: &Parameter| {
            let field = &parameter.field;
            if !message.has_field(&parameter.descriptor) {
                return match field.required {
                    true => Err(Refusal::Missing(field.name.clone())),
                    false => Ok(parameter.width.fill(vec![Cell::Null])),
                };
            }
            let value = message.get_field(&parameter.descriptor);
            // Clients without presence send an empty text for a value they do not have.
            if field.required && value.as_str().is_some_and(str::is_empty) {
                return Err(Refusal::Missing(field.name.clone()));
            }
            let bound = match self.write {
                Some(_) => field.bind_to_store(&value, parameter.width),
                None => field.bind(&value, parameter.width),
            };
            bound.map_err(|expected| Refusal::Invalid {
                field: field.name.clone(),
                expected,
            })
        };
        let bound: Result<Vec<_>, _> = self.parameters.iter().map(cells).collect();
        let values = [bound?.concat(), self.method.filter_values.clone()].concat();
        let mut statements = self.statements();
        match statements.find_map(|statement| statement.unbindable(&values)) {
            Some((value, expected)) => Err(self.refused_value(value, expected)),
            None => Ok(values),
        }
    }

    /// All that the values are bound to.
    fn statements(&self) -> impl Iterator<Item = &Prepared> {
        let steps = self.write.iter().flat_map(|write| &write.steps);
        steps.map(|step| &step.statement).chain([&*self.statement])
    }

    /// Carries out what a method writes; a caller who goes away does not end it midway.
    async fn write_one(
        self: &Arc<Self>,
        request: &Request<Bytes>,
    ) -> Result<DynamicMessage, Refusal> {
        let deadline = self.deadline(request.metadata());
        let admission = self.admit()?;
        let values = self.parameters(request.get_ref())?;
        let key = self.call_key(request)?;
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

    /// What a call is known by, if its method is one that has a key.
    fn call_key(&self, request: &Request<Bytes>) -> Result<Option<(String, CallKey)>, Refusal> {
        let Some(Once::Key { field }) = self.method.write.as_ref().map(|write| &write.once) else {
            return Ok(None);
        };
        let message = DynamicMessage::decode(self.request.clone(), request.get_ref().clone())
            .map_err(|_undecodable| Refusal::Unreadable)?;
        let key = message.get_field_by_name(field);
        let key = key.as_deref().and_then(Value::as_str).unwrap_or_default();
        if key.len() > LONGEST_KEY || key.contains('\0') {
            return Err(Refusal::Invalid {
                field: field.clone(),
                expected: "text of at most 200 bytes without the character 0",
            });
        }
        let consumer = request.metadata().get("x-road-client");
        let consumer = consumer
            .and_then(|consumer| consumer.to_str().ok())
            .unwrap_or_default();
        if consumer.len() > LONGEST_CONSUMER {
            return Err(Refusal::Unreadable);
        }
        // Encoded again, in the order of the fields: clients may write them in another.
        let canonical = message.encode_to_vec();
        let key = CallKey {
            method: self.method.name.clone(),
            consumer: consumer.to_owned(),
            key: key.to_owned(),
            request: *Digest::of(&canonical).as_bytes(),
        };
        Ok(Some((field.clone(), key)))
    }

    fn reply(&self, row: Vec<Cell>, number: u64) -> Result<DynamicMessage, Refusal> {
        let mut message = DynamicMessage::new(self.reply.clone());
        let mut undecodable = Vec::new();
        for column in &self.columns {
            let cell = |position: &usize| row.get(*position).unwrap_or(&Cell::Null);
            let read = match column.positions.as_slice() {
                [one] => column
                    .rules
                    .read(column.field_type, slice::from_ref(cell(one))),
                several => {
                    let cells: Vec<_> = several.iter().map(cell).cloned().collect();
                    column.rules.read(column.field_type, &cells)
                }
            };
            let read = read.map_err(|mismatch| Refusal::Value {
                field: column.descriptor.name().to_owned(),
                row: number,
                expected: mismatch.expected,
                found: mismatch.found,
            })?;
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
        if message.encoded_len() > self.limits.reply_bytes {
            return Err(Refusal::ReplyTooLarge(self.limits.reply_bytes));
        }
        Ok(message)
    }
}

/// Where a message with many records is full, whatever it may have.
const BATCH_BYTES: usize = 256 * 1024;

/// An answer that has begun.
struct Answer {
    rows: Rows,
    /// A record that was read and not yet sent.
    first: Option<DynamicMessage>,
}

impl UnaryService<Bytes> for MethodService {
    type Response = DynamicMessage;
    type Future = BoxFuture<Response<DynamicMessage>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let granted = Arc::clone(&self.0);
        Box::pin(async move {
            let mut record = CallRecord::begin(&granted.name, request.metadata());
            let served = match granted.choose(request.metadata()) {
                Ok(served) => served,
                Err(refusal) => return Err(record.refused(&refusal)),
            };
            let answered = match served.write {
                Some(_) => served.write_one(&request).await,
                None => served.answer_one(&request).await,
            };
            match answered {
                Ok(reply) => {
                    record.add_rows(1);
                    record.answered();
                    Ok(Response::new(reply))
                }
                Err(refusal) => Err(record.refused(&refusal)),
            }
        })
    }
}

impl ServerStreamingService<Bytes> for MethodService {
    type Response = DynamicMessage;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let granted = Arc::clone(&self.0);
        Box::pin(async move {
            let mut record = CallRecord::begin(&granted.name, request.metadata());
            let served = match granted.choose(request.metadata()) {
                Ok(served) => served,
                Err(refusal) => return Err(record.refused(&refusal)),
            };
            match served.begin_stream(&request).await {
                Ok(answer) => Ok(Response::new(remaining(served, answer, record))),
                Err(refusal) => Err(record.refused(&refusal)),
            }
        })
    }
}

/// The rows of an answer as they are asked for; the record is closed with the last one.
fn remaining(
    served: Arc<ServedMethod>,
    answer: Answer,
    record: CallRecord,
) -> Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>> {
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

impl<B> Service<http::Request<B>> for MethodService
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
    B::Data: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            // All that is answered of a method has one kind and the same limits.
            let Some((_, first)) = service.0.answers.first().cloned() else {
                return Ok(Status::unimplemented("no such method").into_http());
            };
            let limits = first.limits;
            let mut grpc = Grpc::new(DynamicCodec)
                .max_decoding_message_size(limits.request_bytes)
                .max_encoding_message_size(limits.reply_bytes);
            Ok(match first.method.kind {
                MethodKind::Unary => grpc.unary(service, request).await,
                MethodKind::ServerStreaming | MethodKind::Batches => {
                    grpc.server_streaming(service, request).await
                }
            })
        })
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
