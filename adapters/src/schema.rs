//! The `.proto` of a configuration, as text to read and as descriptors to serve by.

use prost_reflect::{DescriptorPool, MessageDescriptor, ServiceDescriptor};

use crate::{
    configuration::{Configuration, Method, MethodKind, RECORDS, SUBJECT_MARK},
    field_type::FieldType,
    lock::{Lock, LockedMessage},
};

const PARTIAL_DATE: &str = "
// A calendar day as far as it is known; what is absent is not known.
message PartialDate {
  optional int32 year = 1;
  optional int32 month = 2;
  optional int32 day = 3;
}
";

const POSITION_FIELD: &str = "
  // Where to go on, as `after` of the next call; a message without records only says this.
  string position = 2;
";

/// The published form of a service.
#[derive(Debug, Clone)]
pub struct Schema {
    /// The `.proto` file, self-contained: it imports nothing.
    pub text: String,
    /// The path that the `.proto` has among others, `vn/population/v1/population.proto`.
    pub file_name: String,
    /// The encoded `FileDescriptorSet`, comments included: they mark the data subject.
    pub descriptors: Vec<u8>,
    pool: DescriptorPool,
}

/// The names in the configuration, or the text of a provider, do not make a valid `.proto`.
#[derive(Debug, thiserror::Error)]
#[error("this does not make a valid .proto: {fault}; change what it says")]
pub struct SchemaError {
    fault: String,
}

/// A `.proto` compiled.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// The encoded `FileDescriptorSet`, comments included.
    pub(crate) descriptors: Vec<u8>,
    pool: DescriptorPool,
}

impl SchemaError {
    pub(crate) const fn of(fault: String) -> Self {
        Self { fault }
    }
}

impl Published {
    /// Compiles the text of a file that imports nothing.
    pub(crate) fn of_text(file_name: &str, text: &str) -> Result<Self, SchemaError> {
        let compiled = compile(file_name, text);
        let compiled = compiled.map_err(|error| SchemaError::of(error.to_string()))?;
        let descriptors = compiled.encode_file_descriptor_set();
        let pool = DescriptorPool::decode(descriptors.as_slice());
        let pool = pool.map_err(|error| SchemaError::of(error.to_string()))?;
        Ok(Self { descriptors, pool })
    }

    /// The service, if there is exactly one.
    pub(crate) fn only_service(&self) -> Result<ServiceDescriptor, SchemaError> {
        let mut services = self.pool.services();
        match (services.next(), services.next()) {
            (Some(service), None) => Ok(service),
            _ => Err(SchemaError::of(
                "there is not exactly one service".to_owned(),
            )),
        }
    }
}

impl Schema {
    /// Writes the `.proto` with the numbers of a lock that covers the configuration.
    pub fn write(configuration: &Configuration, lock: &Lock) -> Result<Self, SchemaError> {
        let text = proto_text(configuration, lock)?;
        let file_name = file_name(configuration);
        let Published { descriptors, pool } = Published::of_text(&file_name, &text)?;
        Ok(Self {
            text,
            file_name,
            descriptors,
            pool,
        })
    }

    /// The descriptor of a message of this service, by its short name.
    pub fn message(&self, package: &str, name: &str) -> Result<MessageDescriptor, SchemaError> {
        self.pool
            .get_message_by_name(&format!("{package}.{name}"))
            .ok_or_else(|| SchemaError {
                fault: format!("there is no message {name}"),
            })
    }
}

fn compile(file_name: &str, text: &str) -> Result<protox::Compiler, protox::Error> {
    let file = protox::file::File::from_source(file_name, text)?;
    let mut compiler = protox::Compiler::with_file_resolver(OneFile(file));
    compiler
        .include_source_info(true)
        .include_imports(true)
        .open_file(file_name)?;
    Ok(compiler)
}

struct OneFile(protox::file::File);

impl protox::file::FileResolver for OneFile {
    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        if name == self.0.name() {
            Ok(self.0.clone())
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

fn file_name(configuration: &Configuration) -> String {
    let mut name = String::new();
    for (position, letter) in configuration.service.name.char_indices() {
        if letter.is_ascii_uppercase() && position > 0 {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    format!(
        "{}/{name}.proto",
        configuration.service.package.replace('.', "/")
    )
}

fn proto_text(configuration: &Configuration, lock: &Lock) -> Result<String, SchemaError> {
    let source = configuration.file_name();
    let mut text = format!(
        "// Written by `adapter proto` from {source}; change that file, not this one.\n\
         // Every field is optional on the wire, so that an absent value differs from an empty one.\n\
         syntax = \"proto3\";\n\npackage {};\n\n",
        configuration.service.package
    );
    comment(&mut text, "", &configuration.doc);
    text.push_str(&format!("service {} {{\n", configuration.service.name));
    for (position, method) in configuration.methods.iter().enumerate() {
        if position > 0 {
            text.push('\n');
        }
        comment(&mut text, "  ", &method.doc);
        comment(&mut text, "  ", &answer_in_words(method));
        let stream = match method.kind {
            MethodKind::Unary => "",
            MethodKind::ServerStreaming | MethodKind::Batches | MethodKind::Changes => "stream ",
        };
        text.push_str(&format!(
            "  rpc {}({}) returns ({stream}{});\n",
            method.name,
            method.request_message(),
            method.reply_message()
        ));
    }
    text.push_str("}\n");
    for method in &configuration.methods {
        let (request, reply) = lock.messages(&method.name).ok_or_else(|| SchemaError {
            fault: format!("the lock does not know the method {}", method.name),
        })?;
        let request_fields = method
            .request_fields()
            .map(|(name, field_type, required, doc)| {
                let mut doc = with_format(doc, field_type);
                if required {
                    doc.push_str("\nRequired: a call without it is refused.");
                }
                mark_subject(&mut doc, method, name);
                (name, field_type, doc)
            });
        let reply_fields = method.reply_fields().map(|(name, field_type, doc)| {
            let mut doc = with_format(doc, field_type);
            mark_subject(&mut doc, method, name);
            (name, field_type, doc)
        });
        message(
            &mut text,
            &method.request_message(),
            request,
            request_fields,
        )?;
        message(&mut text, &method.record_message(), reply, reply_fields)?;
        let position = match method.kind {
            MethodKind::Batches => "",
            MethodKind::Changes => POSITION_FIELD,
            MethodKind::Unary | MethodKind::ServerStreaming => continue,
        };
        text.push_str(&format!(
            "\nmessage {} {{\n  // In the order of the register.\n  repeated {} {RECORDS} = 1;\n{position}}}\n",
            method.reply_message(),
            method.record_message()
        ));
    }
    let mut types = configuration.methods.iter().flat_map(Method::reply_fields);
    if types.any(|(_, field_type, _)| field_type == FieldType::PartialDate) {
        text.push_str(PARTIAL_DATE);
    }
    Ok(text)
}

fn answer_in_words(method: &Method) -> String {
    match method.kind {
        MethodKind::Unary => {
            "Answers one record; NOT_FOUND if there is none, FAILED_PRECONDITION if several match."
                .to_owned()
        }
        MethodKind::Batches => format!(
            "Answers messages of up to {} records each, {} records at most; RESOURCE_EXHAUSTED if more match.",
            method.rows_per_message, method.max_rows
        ),
        MethodKind::Changes => format!(
            "Answers what has changed behind `after`, in messages of up to {} records each; a record is sent again \
             when `after` is given again.",
            method.rows_per_message
        ),
        MethodKind::ServerStreaming => format!(
            "Answers a message for each record, {} at most; RESOURCE_EXHAUSTED if more match.",
            method.max_rows
        ),
    }
}

fn mark_subject(doc: &mut String, method: &Method, name: &str) {
    if method.subjects.iter().any(|subject| subject == name) {
        doc.push_str("\nIdentifies a person.\n");
        doc.push_str(SUBJECT_MARK);
    }
}

fn with_format(doc: &str, field_type: FieldType) -> String {
    match field_type {
        FieldType::Date => format!("{doc}\nA day, YYYY-MM-DD."),
        _ => doc.to_owned(),
    }
}

fn message<'a>(
    text: &mut String,
    name: &str,
    numbers: &LockedMessage,
    fields: impl Iterator<Item = (&'a str, FieldType, String)>,
) -> Result<(), SchemaError> {
    text.push_str(&format!("\nmessage {name} {{\n"));
    let reserved = numbers.reserved();
    for gone in &reserved {
        text.push_str(&format!(
            "  reserved {}; // was {}\n",
            gone.number, gone.name
        ));
    }
    let mut separator = if reserved.is_empty() { "" } else { "\n" };
    for (field, field_type, doc) in fields {
        let number = numbers.number(field).ok_or_else(|| SchemaError {
            fault: format!("the lock does not know the field {field} of {name}"),
        })?;
        text.push_str(separator);
        separator = "\n";
        comment(text, "  ", &doc);
        text.push_str(&format!(
            "  {} {field} = {number};\n",
            field_type.proto_name()
        ));
    }
    text.push_str("}\n");
    Ok(())
}

fn comment(text: &mut String, indent: &str, doc: &str) {
    for line in doc.lines().map(str::trim).filter(|line| !line.is_empty()) {
        text.push_str(&format!("{indent}// {line}\n"));
    }
}

#[cfg(test)]
mod tests;
