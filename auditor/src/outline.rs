//! What is shown, in order: as indented lines for people, as JSON for machines.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::printable::printable;

/// Named values in the order in which they are read.
#[derive(Debug)]
pub enum Outline {
    /// Names and what they name.
    Fields(Vec<(&'static str, Self)>),
    /// A value.
    Value(Value),
}

impl Outline {
    /// Those of the fields that are there.
    pub(crate) fn of<const N: usize>(fields: [(&'static str, Option<Value>); N]) -> Self {
        let present = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.into())));
        Self::Fields(present.collect())
    }

    /// Adds a field at the end; a value has none.
    pub(crate) fn add(&mut self, name: &'static str, value: impl Into<Self>) {
        if let Self::Fields(fields) = self {
            fields.push((name, value.into()));
        }
    }
}

impl From<Value> for Outline {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl Serialize for Outline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_outline(&mut text, self, 0)?;
        formatter.write_str(&text)
    }
}

fn write_outline(text: &mut String, outline: &Outline, depth: usize) -> fmt::Result {
    match outline {
        Outline::Value(value) => write_value(text, value, depth),
        Outline::Fields(fields) => {
            for (name, value) in fields {
                match value {
                    Outline::Value(value) => write_field(text, name, value, depth)?,
                    Outline::Fields(_) => {
                        writeln!(text, "{:1$}{name}:", "", depth * 2)?;
                        write_outline(text, value, depth + 1)?;
                    }
                }
            }
            Ok(())
        }
    }
}

fn write_field(text: &mut String, name: &str, value: &Value, depth: usize) -> fmt::Result {
    let (indent, name) = (depth * 2, printable(name));
    let is_simple = match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if is_simple {
        return writeln!(text, "{:indent$}{name}: {}", "", in_one_line(value));
    }
    writeln!(text, "{:indent$}{name}:", "")?;
    write_value(text, value, depth + 1)
}

fn write_value(text: &mut String, value: &Value, depth: usize) -> fmt::Result {
    let indent = depth * 2;
    match value {
        Value::Object(fields) => fields
            .iter()
            .try_for_each(|(name, value)| write_field(text, name, value, depth)),
        Value::Array(items) => items.iter().try_for_each(|item| match item {
            Value::Object(_) | Value::Array(_) => {
                writeln!(text, "{:indent$}-", "")?;
                write_value(text, item, depth + 1)
            }
            item => writeln!(text, "{:indent$}- {}", "", in_one_line(item)),
        }),
        value => writeln!(text, "{:indent$}{}", "", in_one_line(value)),
    }
}

fn in_one_line(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        other => other.to_string(),
    }
}
