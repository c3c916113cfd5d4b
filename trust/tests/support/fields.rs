//! Protobuf messages from readable JSON: field names as in the `.proto` files.
//!
//! Bytes are hexadecimal, or an object that says what they are: `{"text": ...}`,
//! `{"sha256_of": ...}` of any bytes, `{"repeat": N, "byte": B}`, or
//! `{"message": TYPE, "fields": {...}}` for an encoded message inside. In a list,
//! `{"repeat": N, "of": ...}` stands for N equal elements.
//!
//! The encoder is prost-reflect's over the committed descriptors, not the one that the program
//! uses: two encoders agree on every vector.

use std::sync::LazyLock;

use prost::{Message, bytes::Bytes};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Wire,
};
use serde_json::Value;
use trust::Digest;

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let encoded = include_bytes!("../../../proto/src/generated/descriptors.bin");
    DescriptorPool::decode(encoded.as_slice()).unwrap()
});

/// Encodes a message of the wire, e.g. `evidence.v1.MessageHeader`.
pub fn encode(message: &str, fields: &Value) -> Bytes {
    let name = format!("lienthong.{message}");
    let descriptor = DESCRIPTORS.get_message_by_name(&name).unwrap();
    dynamic(descriptor, fields).encode_to_vec().into()
}

/// The same, decoded into the type that the program uses.
pub fn decode<T: Message + Default>(message: &str, fields: &Value) -> T {
    T::decode(encode(message, fields)).unwrap()
}

/// Bytes in any of the readable forms.
pub fn bytes(value: &Value) -> Bytes {
    match value {
        Value::String(digits) => hex::decode(digits).unwrap().into(),
        Value::Object(form) => {
            if let Some(text) = form.get("text") {
                return text.as_str().unwrap().to_owned().into();
            }
            if let Some(inner) = form.get("sha256_of") {
                return Digest::of(&bytes(inner)).to_bytes();
            }
            if let Some(count) = form.get("repeat") {
                let byte = form["byte"].as_u64().unwrap() as u8;
                return vec![byte; count.as_u64().unwrap() as usize].into();
            }
            encode(form["message"].as_str().unwrap(), &form["fields"])
        }
        other => panic!("{other} is in no form of bytes"),
    }
}

fn dynamic(descriptor: MessageDescriptor, fields: &Value) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in fields.as_object().unwrap() {
        let field = descriptor
            .get_field_by_name(name)
            .unwrap_or_else(|| panic!("{} has no field {name}", descriptor.full_name()));
        let wire = match value {
            Value::Array(elements) => Wire::List(
                elements
                    .iter()
                    .flat_map(|element| repeated(&field, element))
                    .collect(),
            ),
            value => one(&field, value),
        };
        message.set_field(&field, wire);
    }
    message
}

fn repeated(field: &FieldDescriptor, element: &Value) -> Vec<Wire> {
    match (
        element.get("repeat").and_then(Value::as_u64),
        element.get("of"),
    ) {
        (Some(count), Some(element)) => vec![one(field, element); count as usize],
        _ => vec![one(field, element)],
    }
}

fn one(field: &FieldDescriptor, value: &Value) -> Wire {
    match field.kind() {
        Kind::String => Wire::String(value.as_str().unwrap().to_owned()),
        Kind::Bytes => Wire::Bytes(bytes(value)),
        Kind::Bool => Wire::Bool(value.as_bool().unwrap()),
        Kind::Uint32 => Wire::U32(value.as_u64().unwrap().try_into().unwrap()),
        Kind::Uint64 => Wire::U64(value.as_u64().unwrap()),
        Kind::Int64 => Wire::I64(value.as_i64().unwrap()),
        Kind::Enum(values) => {
            let name = value.as_str().unwrap();
            Wire::EnumNumber(values.get_value_by_name(name).unwrap().number())
        }
        Kind::Message(descriptor) => Wire::Message(dynamic(descriptor, value)),
        other => panic!("no field of this wire is a {other:?}"),
    }
}
