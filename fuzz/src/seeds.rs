//! Seeds out of the committed vectors and samples.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// A file of the repository.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
}

/// The bytes of a file of the repository.
pub fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All bytes that a vector file holds under one of these names, however deep: hexadecimal or text.
pub fn of(file: &str, names: &[&str]) -> Vec<Vec<u8>> {
    let vectors: Value = serde_json::from_slice(&read(file)).unwrap();
    let mut found = Vec::new();
    collect(&vectors, names, &mut found);
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "{file} has nothing named {names:?}");
    found
}

fn collect(value: &Value, names: &[&str], found: &mut Vec<Vec<u8>>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if names.contains(&name.as_str()) => {
                        found.push(hex::decode(text).unwrap_or_else(|_| text.clone().into()));
                    }
                    other => collect(other, names, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names, found)),
        _ => {}
    }
}
