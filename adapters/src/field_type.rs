//! The types a field may have, and how a value travels between the database and a message.

use bytes::Bytes;
use prost_reflect::Value;
use serde::{Deserialize, Serialize};

use crate::encoding::{Encoding, TextForm, Undecodable};

/// A value as the database gives or takes it, before a field's type is applied.
///
/// Text stays raw bytes here: what they mean is decided by the field, never guessed by a driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// SQL NULL: the field is absent.
    Null,
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, in the encoding of the database.
    Text(Bytes),
    /// Bytes without a meaning.
    Blob(Bytes),
}

impl Cell {
    /// The engine's name for what the value is; it says nothing about the value itself.
    pub fn storage(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Text(_) => "TEXT",
            Self::Blob(_) => "BLOB",
        }
    }
}

/// The type of a request or reply field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// UTF-8 text.
    Text,
    /// A signed whole number of 64 bits.
    Integer,
    /// True or false; 1 or 0 in the database.
    Boolean,
    /// A floating-point number of 64 bits.
    Double,
    /// Bytes as they are.
    Bytes,
    /// A calendar day, `YYYY-MM-DD`, as text on both sides.
    Date,
    /// Names of fields: what an answer says of itself, never a column.
    Names,
}

impl FieldType {
    /// The name in the configuration and in the lock file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::Date => "date",
            Self::Names => "names",
        }
    }

    /// Label and type in the `.proto`.
    pub fn proto_name(self) -> &'static str {
        match self {
            Self::Text | Self::Date => "optional string",
            Self::Integer => "optional int64",
            Self::Boolean => "optional bool",
            Self::Double => "optional double",
            Self::Bytes => "optional bytes",
            Self::Names => "repeated string",
        }
    }

    /// What the type asks of a value, for errors; never the value.
    pub fn expectation(self, text: Encoding) -> &'static str {
        match self {
            Self::Text => text.expectation(),
            Self::Integer => "a whole number of 64 bits",
            Self::Boolean => "true or false (1 or 0)",
            Self::Double => "a finite number",
            Self::Bytes => "bytes",
            Self::Date => "a day that exists, written YYYY-MM-DD",
            Self::Names => "names of fields",
        }
    }

    /// The value of a reply field; `Err` if the cell holds something else than declared.
    pub fn to_message(self, cell: Cell, form: TextForm) -> Result<Read, Mismatch> {
        let found = cell.storage();
        let value = match (self, cell) {
            (_, Cell::Null) => return Ok(Read::default()),
            (Self::Text, Cell::Text(text)) => return read_text(&text, form),
            // Whoever stored bytes of another encoding may have said that they are no text.
            (Self::Text, Cell::Blob(text)) if form.encoding != Encoding::Utf8 => {
                return read_text(&text, form);
            }
            (Self::Date, Cell::Text(text)) => {
                utf8(text).filter(|text| is_date(text)).map(Value::String)
            }
            (Self::Integer, Cell::Integer(number)) => Some(Value::I64(number)),
            (Self::Boolean, Cell::Integer(0)) => Some(Value::Bool(false)),
            (Self::Boolean, Cell::Integer(1)) => Some(Value::Bool(true)),
            (Self::Double, Cell::Real(number)) => Some(Value::F64(number)),
            (Self::Double, Cell::Integer(number)) => exact_double(number).map(Value::F64),
            (Self::Bytes, Cell::Blob(bytes)) => Some(Value::Bytes(bytes)),
            _ => None,
        };
        match value {
            Some(value) => Ok(Read {
                value: Some(value),
                undecodable: 0,
            }),
            None => Err(Mismatch {
                expected: self.expectation(form.encoding),
                found,
            }),
        }
    }

    /// The parameter for a request field that is present; `None` if the value is not of the type.
    pub fn to_parameter(self, value: &Value) -> Option<Cell> {
        match (self, value) {
            (Self::Text, Value::String(text)) => Some(Cell::Text(text.clone().into())),
            (Self::Date, Value::String(text)) if is_date(text) => {
                Some(Cell::Text(text.clone().into()))
            }
            (Self::Integer, Value::I64(number)) => Some(Cell::Integer(*number)),
            (Self::Boolean, Value::Bool(truth)) => Some(Cell::Integer(i64::from(*truth))),
            // SQLite would store NaN as NULL and so turn a filter off.
            (Self::Double, Value::F64(number)) if number.is_finite() => Some(Cell::Real(*number)),
            (Self::Bytes, Value::Bytes(bytes)) => Some(Cell::Blob(bytes.clone())),
            _ => None,
        }
    }
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Read {
    /// The value; absent for NULL.
    pub value: Option<Value>,
    /// How many of its stored bytes could not be understood.
    pub undecodable: usize,
}

/// A cell that is not what its field declares; says the kinds only, never the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// What the field's type asks for.
    pub expected: &'static str,
    /// What was found: a storage class, or what text is not.
    pub found: &'static str,
}

fn read_text(bytes: &[u8], form: TextForm) -> Result<Read, Mismatch> {
    let decoded = form.decode(bytes);
    if decoded.undecodable > 0 && form.undecodable == Undecodable::Strict {
        return Err(Mismatch {
            expected: form.encoding.expectation(),
            found: "bytes that mean nothing there",
        });
    }
    Ok(Read {
        value: Some(Value::String(decoded.text)),
        undecodable: decoded.undecodable,
    })
}

fn utf8(text: Bytes) -> Option<String> {
    String::from_utf8(text.into()).ok()
}

/// Whole numbers that a double holds exactly; others would be changed in silence.
fn exact_double(number: i64) -> Option<f64> {
    const LIMIT: i64 = 1 << 53;
    #[allow(clippy::cast_precision_loss, reason = "exact within the limit")]
    (-LIMIT..=LIMIT).contains(&number).then_some(number as f64)
}

/// Exactly `YYYY-MM-DD`, and the day exists.
fn is_date(text: &str) -> bool {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(position, byte)| match position {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
    shape && text.parse::<jiff::civil::Date>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static [u8]) -> Cell {
        Cell::Text(Bytes::from_static(text))
    }

    fn read(field_type: FieldType, cell: Cell) -> Result<Option<Value>, Mismatch> {
        let read = field_type.to_message(cell, TextForm::default())?;
        assert_eq!(read.undecodable, 0);
        Ok(read.value)
    }

    #[test]
    fn bytes_that_mean_nothing_are_refused_unless_something_else_is_declared() {
        for undecodable in [
            Undecodable::Strict,
            Undecodable::Report,
            Undecodable::Replace,
        ] {
            for (encoding, cell) in [
                (Encoding::Utf8, text(b"H\xc3")),
                (Encoding::Tcvn3, text(b"H\xff")),
                (Encoding::Tcvn3, Cell::Blob(Bytes::from_static(b"H\xff"))),
            ] {
                let form = TextForm {
                    encoding,
                    undecodable,
                    ..TextForm::default()
                };
                let read = FieldType::Text.to_message(cell, form);
                if undecodable == Undecodable::Strict {
                    assert_eq!(read.unwrap_err().expected, encoding.expectation());
                    continue;
                }
                let read = read.unwrap();
                assert_eq!(read.value, Some(Value::String("H\u{fffd}".to_owned())));
                assert_eq!(read.undecodable, 1);
            }
        }
    }

    #[test]
    fn null_is_absent_in_every_type() {
        for field_type in [
            FieldType::Text,
            FieldType::Integer,
            FieldType::Boolean,
            FieldType::Date,
        ] {
            assert_eq!(read(field_type, Cell::Null), Ok(None));
        }
    }

    #[test]
    fn a_cell_of_another_kind_is_refused_not_converted() {
        let refused = [
            (FieldType::Text, Cell::Integer(7)),
            (FieldType::Integer, text(b"7")),
            (FieldType::Integer, Cell::Real(7.0)),
            (FieldType::Boolean, Cell::Integer(2)),
            (FieldType::Double, Cell::Integer((1 << 53) + 1)),
            (FieldType::Bytes, text(b"a")),
            (FieldType::Date, text(b"2023-02-29")),
            (FieldType::Date, text(b"2023-2-9")),
            (FieldType::Date, text(b"2023-02-09T00:00")),
            (FieldType::Date, text(b"00/00/1953")),
        ];
        for (field_type, cell) in refused {
            let found = cell.storage();
            let mismatch = Mismatch {
                expected: field_type.expectation(Encoding::Utf8),
                found,
            };
            assert_eq!(read(field_type, cell), Err(mismatch), "{field_type:?}");
        }
    }

    #[test]
    fn values_pass_both_ways_unchanged() {
        let pairs = [
            (FieldType::Text, Value::String("Nguyễn Thị Ánh".to_owned())),
            (FieldType::Text, Value::String(String::new())),
            (FieldType::Integer, Value::I64(i64::MIN)),
            (FieldType::Boolean, Value::Bool(true)),
            (FieldType::Double, Value::F64(-0.5)),
            (
                FieldType::Bytes,
                Value::Bytes(Bytes::from_static(&[0, 255])),
            ),
            (FieldType::Date, Value::String("2024-02-29".to_owned())),
        ];
        for (field_type, value) in pairs {
            let cell = field_type.to_parameter(&value).unwrap();
            assert_eq!(read(field_type, cell), Ok(Some(value)));
        }
        assert_eq!(
            read(FieldType::Double, Cell::Integer(3)),
            Ok(Some(Value::F64(3.0)))
        );
    }

    #[test]
    fn a_request_value_that_would_change_its_meaning_is_refused() {
        assert_eq!(FieldType::Double.to_parameter(&Value::F64(f64::NAN)), None);
        assert_eq!(
            FieldType::Date.to_parameter(&Value::String("31/12/1999".to_owned())),
            None
        );
        assert_eq!(
            FieldType::Date.to_parameter(&Value::String("2023-02-30".to_owned())),
            None
        );
    }
}
