//! From a request message to the values that the statements bind, and the key that a write is known by.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::metadata::MetadataMap;
use trust::Digest;

use crate::{
    configuration::Once,
    database::Prepared,
    field_type::Cell,
    folding::Ignoring,
    key_table::{CallKey, LONGEST_CONSUMER, LONGEST_KEY},
    refusal::Refusal,
    served_method::{Parameter, ServedMethod},
};

/// What rows are compared with after they were read: the position of a reply field, and the folded name that it must have.
pub(crate) struct Wanted(Vec<(usize, Ignoring, String)>);

impl Wanted {
    pub(crate) const fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl ServedMethod {
    /// The request message, if it is one that this service knows.
    pub(crate) fn read_request(&self, request: &Bytes) -> Result<DynamicMessage, Refusal> {
        let message = DynamicMessage::decode(self.request.clone(), request.clone())
            .map_err(|_undecodable| Refusal::Unreadable)?;
        let unknown = message.unknown_fields().next().map(|field| field.number());
        match unknown {
            Some(number) => Err(Refusal::UnknownField(number)),
            None => Ok(message),
        }
    }

    /// The parameters of the statement, in order; absent ones are NULL.
    pub(crate) fn parameters(&self, message: &DynamicMessage) -> Result<Vec<Cell>, Refusal> {
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
        let mut values = bound?.concat();
        values.extend_from_slice(&self.method.filter_values);
        let mut statements = self.statements();
        match statements.find_map(|statement| statement.unbindable(&values)) {
            Some((value, expected)) => Err(self.refused_value(value, expected)),
            None => Ok(values),
        }
    }

    /// What the rows are compared with after they were read.
    pub(crate) fn wanted(&self, message: &DynamicMessage) -> Result<Wanted, Refusal> {
        let mut names = Vec::with_capacity(self.folded.len());
        for folded in &self.folded {
            let value = message.get_field(&folded.descriptor);
            let name = folded.ignoring.fold(value.as_str().unwrap_or_default());
            match (name.is_empty(), folded.required) {
                (false, _) => names.push((folded.column, folded.ignoring, name)),
                (true, false) => {}
                (true, true) => {
                    return Err(Refusal::Missing(folded.descriptor.name().to_owned()));
                }
            }
        }
        Ok(Wanted(names))
    }

    /// Whether a row is one of those; of the others nothing else is read, and nothing told.
    pub(crate) fn is_wanted(
        &self,
        wanted: &Wanted,
        row: &[Cell],
        number: u64,
    ) -> Result<bool, Refusal> {
        for (column, ignoring, name) in &wanted.0 {
            let column = self.columns.get(*column).ok_or(Refusal::Stopped)?;
            let value = column.read(row, number)?.value;
            let value = value.and_then(|content| content.value(&column.descriptor));
            let value = value.as_ref().and_then(Value::as_str);
            if value.is_none_or(|value| ignoring.fold(value) != *name) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// All that the values are bound to.
    fn statements(&self) -> impl Iterator<Item = &Prepared> {
        let steps = self.write.iter().flat_map(|write| &write.steps);
        steps.map(|step| &step.statement).chain([&*self.statement])
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

    /// What a call is known by, if its method is one that has a key.
    pub(crate) fn call_key(
        &self,
        metadata: &MetadataMap,
        message: &DynamicMessage,
    ) -> Result<Option<(String, CallKey)>, Refusal> {
        let Some(Once::Key { field }) = self.method.write.as_ref().map(|write| &write.once) else {
            return Ok(None);
        };
        let key = message.get_field_by_name(field);
        let key = key.as_deref().and_then(Value::as_str).unwrap_or_default();
        if key.len() > LONGEST_KEY || key.contains('\0') {
            return Err(Refusal::Invalid {
                field: field.clone(),
                expected: "text of at most 200 bytes without the character 0",
            });
        }
        let consumer = match metadata.get("x-road-client") {
            None => "",
            Some(consumer) => consumer.to_str().map_err(|_not_ascii| Refusal::Caller)?,
        };
        if consumer.len() > LONGEST_CONSUMER {
            return Err(Refusal::Caller);
        }
        // Encoded again, in the order of the fields: clients may write them in another. What was answered under one grant is
        // not for another.
        let canonical = message.encode_to_vec();
        let grant = self.grant.as_bytes();
        let key = CallKey {
            method: self.method.name.clone(),
            consumer: consumer.to_owned(),
            key: key.to_owned(),
            request: *Digest::of_parts(&[grant, &[0], &canonical]).as_bytes(),
        };
        Ok(Some((field.clone(), key)))
    }
}
