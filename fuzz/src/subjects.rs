//! Whom messages are about: descriptors that somebody registered, messages that anybody sends.

use std::{fs, sync::LazyLock};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use security_server::fuzzing;
use trust::MethodPath;

use crate::files::folder;

const PROTO: &str = "syntax = \"proto3\";\npackage p;\n\
    message Person {\n  // @data-subject\n  string number = 1;\n  Person mother = 2;\n\
    repeated Person children = 3;\n  // @data-subject\n  repeated sint64 cards = 4;\n\
    map<string, Person> others = 5;\n  bytes photo = 6;\n}\n\
    service S {\n  rpc Find(Person) returns (Person);\n}\n";

static COMPILED: LazyLock<(Vec<u8>, MessageDescriptor)> = LazyLock::new(|| {
    let folder = folder();
    let file = folder.path().join("p.proto");
    fs::write(&file, PROTO).expect("a temporary file");
    let set = protox::compile([&file], [folder.path()]).expect("the service compiles");
    let encoded = set.encode_to_vec();
    let pool = DescriptorPool::from_file_descriptor_set(set).expect("a pool");
    let person = pool.get_message_by_name("p.Person").expect("a person");
    (encoded, person)
});

fn method() -> MethodPath {
    MethodPath::new("p.S", "Find").expect("a method")
}

pub fn messages() -> Vec<Vec<u8>> {
    let person = &COMPILED.1;
    let mut mother = DynamicMessage::new(person.clone());
    mother.set_field_by_name("number", Value::String("001087123456".to_owned()));
    let mut child = mother.clone();
    child.set_field_by_name("mother", Value::Message(mother.clone()));
    child.set_field_by_name(
        "children",
        Value::List(vec![Value::Message(mother.clone())]),
    );
    child.set_field_by_name("cards", Value::List(vec![Value::I64(-7), Value::I64(8)]));
    vec![mother.encode_to_vec(), child.encode_to_vec()]
}

/// A person whom a common reader finds in a message is not missed.
pub fn message(bytes: &[u8]) {
    let (descriptors, person) = &*COMPILED;
    let found = fuzzing::subjects(descriptors, &method(), bytes);
    let (count, all) = found.expect("the service has the method");
    let Ok(read) = DynamicMessage::decode(person.clone(), bytes) else {
        return;
    };
    let mut named = std::collections::BTreeSet::new();
    collect(&read, &mut named);
    assert!(!all || count >= named.len(), "{count} of {named:?}");
}

fn collect(person: &DynamicMessage, named: &mut std::collections::BTreeSet<String>) {
    for (field, value) in person.fields() {
        match (field.number(), value) {
            (1, Value::String(number)) if !number.trim().is_empty() => {
                named.insert(number.trim().to_owned());
            }
            (4, Value::List(cards)) => {
                named.extend(
                    cards
                        .iter()
                        .filter_map(Value::as_i64)
                        .map(|card| card.to_string()),
                );
            }
            (2, Value::Message(mother)) => collect(mother, named),
            (3, Value::List(children)) => {
                for child in children.iter().filter_map(Value::as_message) {
                    collect(child, named);
                }
            }
            (5, Value::Map(others)) => {
                for other in others.values().filter_map(Value::as_message) {
                    collect(other, named);
                }
            }
            _ => {}
        }
    }
}

pub fn descriptor_sets() -> Vec<Vec<u8>> {
    vec![COMPILED.0.clone()]
}

/// Any descriptor set is read or refused, and any message by it.
pub fn descriptors(bytes: &[u8]) {
    for message in messages() {
        let _ = fuzzing::subjects(bytes, &method(), &message);
    }
}
