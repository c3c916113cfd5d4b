//! Values in the binary protocol of MariaDB (https://mariadb.com/kb/en/resultset-row/).

use bytes::{Buf, Bytes};
use sqlx::{
    Decode, MySql, Type, TypeInfo, ValueRef,
    mysql::{MySqlArguments, MySqlValueRef},
};

use super::super::DatabaseError;
use crate::{field_type::Cell, statement::Form};

/// Adds a value to the arguments of a statement.
pub(super) fn bind(
    arguments: &mut MySqlArguments,
    value: &Cell,
    form: Form,
) -> Result<(), DatabaseError> {
    use sqlx::Arguments as _;
    let added = match value {
        Cell::Null => arguments.add(None::<i64>),
        // MariaDB compares a text and a number as floating-point numbers: '12abc' would be 12, and 'Y' 0.
        Cell::Integer(number) if form == Form::Bytes => {
            arguments.add(number.to_string().into_bytes())
        }
        Cell::Integer(number) if form == Form::Digits => arguments.add(number.to_string()),
        Cell::Integer(number) => arguments.add(*number),
        Cell::Real(number) => arguments.add(*number),
        Cell::Text(text) if form != Form::Bytes => {
            let text = str::from_utf8(text).map_err(|_| DatabaseError::of_driver())?;
            arguments.add(text)
        }
        Cell::Text(bytes) | Cell::Decimal(bytes) | Cell::Blob(bytes) => arguments.add(&**bytes),
    };
    added.map_err(|_unencodable| DatabaseError::of_driver())
}

/// A value of a row.
pub(super) fn cell(value: MySqlValueRef<'_>) -> Result<Cell, DatabaseError> {
    let type_info = value.type_info().into_owned();
    // A binary collation makes no bytes of a text: the driver's test is the character set.
    let is_text = <str as Type<MySql>>::compatible(&type_info);
    let unreadable = |_| DatabaseError::Stopped {
        detail: "a value is not in the format of its type",
    };
    let bytes = |value| <&[u8] as Decode<MySql>>::decode(value);
    Ok(match type_info.name() {
        "BIT" | "YEAR" => unsigned(Decode::<MySql>::decode(value).map_err(unreadable)?),
        "BOOLEAN" => Cell::Integer(Decode::<MySql>::decode(value).map_err(unreadable)?),
        name if name.ends_with("UNSIGNED") => {
            unsigned(Decode::<MySql>::decode(value).map_err(unreadable)?)
        }
        "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" => {
            Cell::Integer(Decode::<MySql>::decode(value).map_err(unreadable)?)
        }
        "FLOAT" => {
            let number: f32 = Decode::<MySql>::decode(value).map_err(unreadable)?;
            Cell::Real(number.into())
        }
        "DOUBLE" => Cell::Real(Decode::<MySql>::decode(value).map_err(unreadable)?),
        "DECIMAL" => Cell::Decimal(Bytes::copy_from_slice(bytes(value).map_err(unreadable)?)),
        "DATE" => Cell::Text(day(bytes(value).map_err(unreadable)?).into()),
        "DATETIME" | "TIMESTAMP" => Cell::Text(moment(bytes(value).map_err(unreadable)?).into()),
        "TIME" => Cell::Text(duration(bytes(value).map_err(unreadable)?).into()),
        "SET" | "ENUM" => Cell::Text(Bytes::copy_from_slice(bytes(value).map_err(unreadable)?)),
        _ => {
            let bytes = Bytes::copy_from_slice(bytes(value).map_err(unreadable)?);
            match is_text {
                true => Cell::Text(bytes),
                false => Cell::Blob(bytes),
            }
        }
    })
}

/// Whole numbers beyond 63 bits keep their digits.
fn unsigned(number: u64) -> Cell {
    i64::try_from(number).map_or_else(|_| Cell::Decimal(number.to_string().into()), Cell::Integer)
}

/// Days of which only a part is known are values of MariaDB, and stay as they are; of 0000-00-00 the driver says NULL.
fn day(mut bytes: &[u8]) -> String {
    let _length = bytes.try_get_u8();
    let year = bytes.try_get_u16_le().unwrap_or(0);
    let (month, day) = (
        bytes.try_get_u8().unwrap_or(0),
        bytes.try_get_u8().unwrap_or(0),
    );
    format!("{year:04}-{month:02}-{day:02}")
}

fn moment(bytes: &[u8]) -> String {
    format!(
        "{}T{}",
        day(bytes),
        clock(bytes.get(5..).unwrap_or_default())
    )
}

/// Hours, minutes, seconds and, if there are any, microseconds.
fn clock(mut bytes: &[u8]) -> String {
    let mut part = || bytes.try_get_u8().unwrap_or(0);
    let (hour, minute, second) = (part(), part(), part());
    match bytes.try_get_u32_le().unwrap_or(0) {
        0 => format!("{hour:02}:{minute:02}:{second:02}"),
        micros => format!("{hour:02}:{minute:02}:{second:02}.{micros:06}"),
    }
}

/// A sign, days, and a time of day: MariaDB's TIME goes beyond a day, and below zero.
fn duration(bytes: &[u8]) -> String {
    let sign = if bytes.get(1) == Some(&1) { "-" } else { "" };
    let days = bytes
        .get(2..)
        .and_then(|mut days| days.try_get_u32_le().ok())
        .unwrap_or(0);
    let mut rest = bytes.get(6..).unwrap_or_default();
    let hours = u32::from(rest.try_get_u8().unwrap_or(0)) + days * 24;
    let clock = clock(bytes.get(6..).unwrap_or_default());
    format!("{sign}{hours:02}{}", &clock[2..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_written_as_mariadb_prints_them() {
        assert_eq!(day(&[0]), "0000-00-00");
        assert_eq!(day(&[4, 0xa1, 0x07, 0, 0]), "1953-00-00");
        assert_eq!(moment(&[4, 0xe8, 0x07, 2, 29]), "2024-02-29T00:00:00");
        assert_eq!(
            moment(&[7, 0xe8, 0x07, 2, 29, 23, 59, 1]),
            "2024-02-29T23:59:01"
        );
        assert_eq!(
            moment(&[11, 0xe8, 0x07, 2, 29, 1, 2, 3, 0x20, 0xa1, 7, 0]),
            "2024-02-29T01:02:03.500000"
        );
        assert_eq!(duration(&[0]), "00:00:00");
        assert_eq!(duration(&[8, 1, 34, 0, 0, 0, 22, 59, 58]), "-838:59:58");
    }

    #[test]
    fn large_unsigned_numbers_keep_their_digits() {
        assert_eq!(unsigned(7), Cell::Integer(7));
        assert_eq!(
            unsigned(u64::MAX),
            Cell::Decimal("18446744073709551615".into())
        );
    }
}
