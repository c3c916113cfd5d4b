//! Values in PostgreSQL's binary format, each by the type that the server says it has.
//!
//! The formats are those of the types' `_send` and `_recv` functions in PostgreSQL's `src/backend/utils/adt`.

use bytes::Bytes;
use jiff::{
    SignedDuration,
    civil::{self, DateTime},
};
use sqlx::{
    Arguments as _, Encode, Postgres, Type, TypeInfo as _, ValueRef,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, PgTypeKind, PgValueRef, types::Oid},
};

use super::super::DatabaseError;
use crate::{
    configuration::RequestField,
    field_type::{Cell, FieldType, exact_double},
    statement::{Bind, Form},
};

mod numeric;

/// The type of a parameter, as the server infers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) struct ParameterType {
    oid: Oid,
    kind: Kind,
    name: String,
}

/// How values of a type are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampWithZone,
    Uuid,
    Json,
    /// One that is neither read nor bound.
    Other,
}

impl Kind {
    fn of(type_info: &PgTypeInfo) -> Self {
        if matches!(type_info.kind(), PgTypeKind::Enum(_)) {
            return Self::Text;
        }
        match type_info.name() {
            "BOOL" => Self::Boolean,
            "INT2" => Self::Int2,
            "INT4" => Self::Int4,
            "INT8" => Self::Int8,
            "FLOAT4" => Self::Float4,
            "FLOAT8" => Self::Float8,
            "NUMERIC" => Self::Numeric,
            "TEXT" | "VARCHAR" | "CHAR" | "\"CHAR\"" | "NAME" | "UNKNOWN" | "JSON" | "citext"
            | "xml" => Self::Text,
            "BYTEA" => Self::Bytes,
            "DATE" => Self::Date,
            "TIME" => Self::Time,
            "TIMESTAMP" => Self::Timestamp,
            "TIMESTAMPTZ" => Self::TimestampWithZone,
            "UUID" => Self::Uuid,
            "JSONB" => Self::Json,
            _ => Self::Other,
        }
    }

    /// What is asked of a value that is bound to it.
    const fn expectation(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Int2 => "a whole number of 16 bits",
            Self::Int4 => "a whole number of 32 bits",
            Self::Int8 | Self::Numeric => "a whole number of 64 bits",
            Self::Float4 | Self::Float8 => "a number",
            Self::Text => "text without the character 0",
            Self::Bytes => "bytes",
            Self::Date => "a day, YYYY-MM-DD",
            Self::Uuid => "a UUID",
            Self::Time | Self::Timestamp | Self::TimestampWithZone | Self::Json | Self::Other => {
                "of this type"
            }
        }
    }
}

impl ParameterType {
    pub(in crate::database) fn of(type_info: &PgTypeInfo) -> Self {
        Self {
            oid: type_info.oid().unwrap_or(Oid(0)),
            kind: Kind::of(type_info),
            name: type_info.name().to_lowercase(),
        }
    }

    pub(in crate::database) fn name(&self) -> &str {
        &self.name
    }

    /// Whether values of a field can be bound to it.
    pub(in crate::database) fn takes(&self, field: &RequestField) -> bool {
        use Kind as K;
        match field.field_type {
            // Bytes of another encoding may be stored as bytes.
            FieldType::Text if field.in_statement().is_bytes => {
                matches!(self.kind, K::Text | K::Bytes)
            }
            FieldType::Text => matches!(self.kind, K::Text | K::Uuid),
            FieldType::Integer => {
                matches!(
                    self.kind,
                    K::Int2 | K::Int4 | K::Int8 | K::Numeric | K::Float8
                )
            }
            FieldType::Boolean => matches!(self.kind, K::Boolean | K::Int2 | K::Int4 | K::Int8),
            FieldType::Double => matches!(self.kind, K::Float4 | K::Float8),
            FieldType::Bytes => self.kind == K::Bytes,
            FieldType::Date => matches!(self.kind, K::Date | K::Text),
            FieldType::PartialDate | FieldType::Names => false,
        }
    }

    /// Whether stored forms of a value can be bound to it: text, or the whole numbers among them.
    pub(in crate::database) fn takes_forms(&self) -> bool {
        use Kind as K;
        matches!(
            self.kind,
            K::Text | K::Int2 | K::Int4 | K::Int8 | K::Numeric
        )
    }

    /// Whether a value can be bound to it.
    pub(in crate::database) fn can_be(&self, value: &Cell) -> bool {
        *value == Cell::Null || written(self.kind, value).is_some()
    }

    /// The value that is bound to it. For a form that the column cannot hold, and so is in no row, another one stands that it
    /// can; if it can hold none, the value is a mistake.
    pub(in crate::database) fn value<'a>(&self, bind: Bind, values: &'a [Cell]) -> &'a Cell {
        const PRESENT: &Cell = &Cell::Integer(1);
        let own = values.get(bind.value).unwrap_or(&Cell::Null);
        match bind.form {
            Form::Presence if *own != Cell::Null => PRESENT,
            Form::OneOf { first, count } if !self.can_be(own) => {
                let mut forms = values.iter().skip(first).take(count);
                forms.find(|form| self.can_be(form)).unwrap_or(own)
            }
            _ => own,
        }
    }

    /// What is asked of a value.
    pub(in crate::database) const fn expectation(&self) -> &'static str {
        self.kind.expectation()
    }

    /// Adds a value to the arguments of a statement.
    pub(super) fn bind(
        &self,
        arguments: &mut PgArguments,
        position: usize,
        value: &Cell,
    ) -> Result<(), DatabaseError> {
        let unbindable = DatabaseError::Parameter {
            value: position,
            expected: self.kind.expectation(),
        };
        let bytes = match value {
            Cell::Null => None,
            value => Some(written(self.kind, value).ok_or(unbindable)?),
        };
        let oid = self.oid;
        let added = arguments.add(BinaryParameter { oid, bytes });
        added.map_err(|_unencodable| DatabaseError::of_driver())
    }
}

/// A value in the binary format of a type.
struct BinaryParameter {
    oid: Oid,
    bytes: Option<Vec<u8>>,
}

impl Type<Postgres> for BinaryParameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for BinaryParameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let Some(bytes) = &self.bytes else {
            return Ok(IsNull::Yes);
        };
        buffer.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(self.oid))
    }
}

/// A value as a parameter of a type; none if it cannot be one.
fn written(kind: Kind, value: &Cell) -> Option<Vec<u8>> {
    match (kind, value) {
        (Kind::Bytes, Cell::Text(bytes) | Cell::Blob(bytes)) => Some(bytes.to_vec()),
        (Kind::Text, Cell::Integer(number)) => Some(number.to_string().into_bytes()),
        (Kind::Text, Cell::Text(bytes) | Cell::Blob(bytes)) => {
            (!bytes.contains(&0)).then(|| bytes.to_vec())
        }
        (Kind::Date, Cell::Text(text)) => {
            let date: civil::Date = str::from_utf8(text).ok()?.parse().ok()?;
            let days = date.duration_since(EPOCH.date()).as_hours() / 24;
            Some(i32::try_from(days).ok()?.to_be_bytes().to_vec())
        }
        (Kind::Uuid, Cell::Text(text)) => uuid(text),
        (Kind::Float4 | Kind::Float8, Cell::Real(number)) => float(kind, *number),
        (Kind::Float4 | Kind::Float8, Cell::Integer(number)) => float(kind, exact_double(*number)?),
        (kind, value) => whole(kind, whole_number(value)?),
    }
}

fn whole_number(value: &Cell) -> Option<i64> {
    match value {
        Cell::Integer(number) => Some(*number),
        Cell::Text(text) => str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}

fn whole(kind: Kind, number: i64) -> Option<Vec<u8>> {
    Some(match kind {
        Kind::Boolean if matches!(number, 0 | 1) => vec![u8::from(number == 1)],
        Kind::Int2 => i16::try_from(number).ok()?.to_be_bytes().to_vec(),
        Kind::Int4 => i32::try_from(number).ok()?.to_be_bytes().to_vec(),
        Kind::Int8 => number.to_be_bytes().to_vec(),
        Kind::Numeric => numeric::write(number),
        _ => return None,
    })
}

fn float(kind: Kind, number: f64) -> Option<Vec<u8>> {
    #[allow(clippy::cast_possible_truncation, reason = "the column is as coarse")]
    match kind {
        Kind::Float4 => Some((number as f32).to_be_bytes().to_vec()),
        _ => Some(number.to_be_bytes().to_vec()),
    }
}

fn uuid(text: &[u8]) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'-').collect();
    let is_grouped = text.len() == 36 && [8, 13, 18, 23].iter().all(|at| text[*at] == b'-');
    if digits.len() != 32 || !is_grouped || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A value of a row.
pub(super) fn cell(value: &PgValueRef<'_>) -> Result<Cell, DatabaseError> {
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let bytes = value.as_bytes().map_err(|_| DatabaseError::of_driver())?;
    let kind = Kind::of(&value.type_info());
    read(kind, bytes).ok_or(DatabaseError::Stopped {
        detail: "a value is not in the format of its type",
    })
}

/// Whether values of a column can be read.
pub(super) fn can_be_read(type_info: &PgTypeInfo) -> bool {
    Kind::of(type_info) != Kind::Other
}

fn read(kind: Kind, bytes: &[u8]) -> Option<Cell> {
    let text = |text: String| Cell::Text(Bytes::from(text));
    Some(match kind {
        Kind::Boolean => Cell::Integer(i64::from(*bytes.first()? != 0)),
        Kind::Int2 => Cell::Integer(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int4 => Cell::Integer(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Int8 => Cell::Integer(i64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Float4 => Cell::Real(f32::from_be_bytes(bytes.try_into().ok()?).into()),
        Kind::Float8 => Cell::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
        Kind::Numeric => Cell::Decimal(numeric::read(bytes)?.into()),
        Kind::Text => Cell::Text(Bytes::copy_from_slice(bytes)),
        Kind::Bytes => Cell::Blob(Bytes::copy_from_slice(bytes)),
        // A version, then the text.
        Kind::Json => Cell::Text(Bytes::copy_from_slice(bytes.strip_prefix(&[1])?)),
        Kind::Uuid => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let group = |range| digits.get::<std::ops::Range<usize>>(range);
            text(format!(
                "{}-{}-{}-{}-{}",
                group(0..8)?,
                group(8..12)?,
                group(12..16)?,
                group(16..20)?,
                group(20..32)?
            ))
        }
        Kind::Date => match i32::from_be_bytes(bytes.try_into().ok()?) {
            i32::MAX => text("infinity".to_owned()),
            i32::MIN => text("-infinity".to_owned()),
            days => {
                let days = SignedDuration::from_hours(i64::from(days) * 24);
                text(EPOCH.date().checked_add(days).ok()?.to_string())
            }
        },
        Kind::Time => {
            let since = SignedDuration::from_micros(i64::from_be_bytes(bytes.try_into().ok()?));
            // 24:00:00 is a time of PostgreSQL's and of no day.
            text(EPOCH.checked_add(since).ok()?.time().to_string())
        }
        Kind::Timestamp => text(moment(bytes)?),
        Kind::TimestampWithZone => match moment(bytes)? {
            infinite if infinite.ends_with("infinity") => text(infinite),
            utc => text(format!("{utc}Z")),
        },
        Kind::Other => return None,
    })
}

/// What PostgreSQL counts from.
const EPOCH: DateTime = civil::datetime(2000, 1, 1, 0, 0, 0, 0);

/// Microseconds since the epoch, as ISO 8601 with a T.
fn moment(bytes: &[u8]) -> Option<String> {
    match i64::from_be_bytes(bytes.try_into().ok()?) {
        i64::MAX => Some("infinity".to_owned()),
        i64::MIN => Some("-infinity".to_owned()),
        micros => Some(
            EPOCH
                .checked_add(SignedDuration::from_micros(micros))
                .ok()?
                .to_string(),
        ),
    }
}

#[cfg(test)]
mod tests;
