//! The types a field may have, and how a value travels between the database and a message.

use bytes::Bytes;
use prost_reflect::Value;
use serde::{Deserialize, Serialize};

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
    /// A number in decimal digits, with a fraction or beyond 64 bits.
    Decimal(Bytes),
    /// Text, in the encoding of the database.
    Text(Bytes),
    /// Bytes without a meaning.
    Blob(Bytes),
}

impl Cell {
    /// How many bytes it holds elsewhere.
    pub const fn size(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
            Self::Decimal(bytes) | Self::Text(bytes) | Self::Blob(bytes) => bytes.len(),
        }
    }

    /// The engine's name for what the value is; it says nothing about the value itself.
    pub fn storage(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "INTEGER",
            Self::Real(_) => "REAL",
            Self::Decimal(_) => "DECIMAL",
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
    /// A calendar day as far as it is known, in a message of its own.
    #[serde(rename = "partial-date")]
    PartialDate,
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
            Self::PartialDate => "partial-date",
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
            Self::PartialDate => "optional PartialDate",
            Self::Names => "repeated string",
        }
    }

    /// What the type asks of a value, for errors; never the value.
    pub fn expectation(self) -> &'static str {
        match self {
            Self::Text => "UTF-8 text",
            Self::Integer => "a whole number of 64 bits",
            Self::Boolean => "true or false (1 or 0)",
            Self::Double => "a finite number",
            Self::Bytes => "bytes",
            Self::Date => "a day that exists, written YYYY-MM-DD",
            Self::PartialDate => "a day, or a part of one, in a declared format",
            Self::Names => "names of fields",
        }
    }

    /// The value of a reply field; none if the cell holds something else than declared. NULL has none.
    pub fn to_value(self, cell: &Cell) -> Option<Value> {
        match (self, cell) {
            (Self::Text, Cell::Text(text)) => utf8(text).map(Value::String),
            (Self::Date, Cell::Text(text)) => {
                utf8(text).filter(|text| is_date(text)).map(Value::String)
            }
            (Self::Integer, Cell::Integer(number)) => Some(Value::I64(*number)),
            (Self::Boolean, Cell::Integer(0)) => Some(Value::Bool(false)),
            (Self::Boolean, Cell::Integer(1)) => Some(Value::Bool(true)),
            (Self::Text, Cell::Decimal(digits)) => utf8(digits).map(Value::String),
            (Self::Integer, Cell::Decimal(digits)) => whole(digits).map(Value::I64),
            (Self::Boolean, Cell::Decimal(digits)) => self.to_value(&Cell::Integer(
                whole(digits).filter(|number| matches!(number, 0 | 1))?,
            )),
            (Self::Double, Cell::Decimal(digits)) => {
                let number: f64 = utf8(digits)?.parse().ok()?;
                number.is_finite().then_some(Value::F64(number))
            }
            (Self::Double, Cell::Real(number)) if number.is_finite() => Some(Value::F64(*number)),
            (Self::Double, Cell::Integer(number)) => exact_double(*number).map(Value::F64),
            (Self::Bytes, Cell::Blob(bytes)) => Some(Value::Bytes(bytes.clone())),
            _ => None,
        }
    }

    /// The day that a request names.
    pub fn date(text: &str) -> Option<jiff::civil::Date> {
        is_date(text).then(|| text.parse().ok())?
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

fn utf8(text: &Bytes) -> Option<String> {
    String::from_utf8(text.to_vec()).ok()
}

/// A number without a fraction: behind its point are zeros only.
fn whole(digits: &Bytes) -> Option<i64> {
    let digits = str::from_utf8(digits).ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    fraction
        .bytes()
        .all(|byte| byte == b'0')
        .then(|| whole.parse().ok())?
}

/// Whole numbers that a double holds exactly; others would be changed in silence.
pub(crate) fn exact_double(number: i64) -> Option<f64> {
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

    #[test]
    fn null_is_no_value_of_any_type() {
        for field_type in [
            FieldType::Text,
            FieldType::Integer,
            FieldType::Boolean,
            FieldType::Date,
        ] {
            assert_eq!(field_type.to_value(&Cell::Null), None);
        }
    }

    #[test]
    fn a_cell_of_another_kind_is_refused_not_converted() {
        let refused = [
            (FieldType::Text, Cell::Integer(7)),
            (FieldType::Text, text(b"\xc4")),
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
            assert_eq!(field_type.to_value(&cell), None, "{field_type:?}");
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
            assert_eq!(field_type.to_value(&cell), Some(value));
        }
        assert_eq!(
            FieldType::Double.to_value(&Cell::Integer(3)),
            Some(Value::F64(3.0))
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
