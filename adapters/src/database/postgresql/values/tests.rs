//! Binary formats, both ways, against what PostgreSQL itself documents and prints.

use super::{numeric, *};

fn text(text: &str) -> Cell {
    Cell::Text(Bytes::from(text.to_owned()))
}

#[test]
fn whole_numbers_are_numerics_and_back() {
    for number in [
        0,
        1,
        -1,
        9_999,
        10_000,
        1_185_123_456,
        -12_345_678,
        1_000_000_000_000,
        i64::MAX,
        i64::MIN,
    ] {
        assert_eq!(
            numeric::read(&numeric::write(number)).unwrap(),
            number.to_string()
        );
    }
}

#[test]
fn numerics_have_as_many_decimals_as_their_column() {
    // As numeric_send writes them: count, weight, sign, scale, groups.
    let words = |words: &[u16]| {
        words
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect::<Vec<_>>()
    };
    for (bytes, expected) in [
        (words(&[2, 0, 0, 2, 12, 5000]), "12.50"),
        (words(&[1, 0xffff, 0, 1, 5000]), "0.5"),
        (words(&[1, 0xfffe, 0x4000, 8, 1]), "-0.00000001"),
        (words(&[0, 0, 0, 3]), "0.000"),
        (words(&[1, 1, 0, 0, 3]), "30000"),
        (words(&[0, 0, 0xc000, 0]), "NaN"),
    ] {
        assert_eq!(numeric::read(&bytes).as_deref(), Some(expected));
    }
    assert_eq!(numeric::read(&words(&[2, 0, 0, 2, 12])), None);
    assert_eq!(numeric::read(&words(&[1, 0, 0, 0, 10_000])), None);
    assert_eq!(numeric::read(&[0]), None);
}

#[test]
fn a_value_that_its_type_cannot_hold_is_no_parameter() {
    for (kind, value) in [
        (Kind::Int2, Cell::Integer(32_768)),
        (Kind::Int4, Cell::Integer(1 << 31)),
        (Kind::Int4, text("7a")),
        (Kind::Boolean, Cell::Integer(2)),
        (Kind::Date, text("2023-02-30")),
        (Kind::Uuid, text("no")),
        (Kind::Uuid, text("0123456701234-567-89ab-cdef-0123456789ab")),
        (Kind::Text, text("a\0b")),
        (Kind::Other, text("a")),
    ] {
        assert_eq!(written(kind, &value), None, "{kind:?}");
    }
}

#[test]
fn days_and_moments_are_counted_from_2000() {
    for (days, expected) in [(0, "2000-01-01"), (-1, "1999-12-31"), (8825, "2024-02-29")] {
        let bytes = i32::to_be_bytes(days);
        assert_eq!(read(Kind::Date, &bytes), Some(text(expected)));
        assert_eq!(written(Kind::Date, &text(expected)), Some(bytes.to_vec()));
    }
    assert_eq!(
        read(Kind::Date, &i32::MAX.to_be_bytes()),
        Some(text("infinity"))
    );
    let micros = i64::to_be_bytes(86_400_000_000 + 1_500_000);
    assert_eq!(
        read(Kind::Timestamp, &micros),
        Some(text("2000-01-02T00:00:01.5"))
    );
    assert_eq!(
        read(Kind::TimestampWithZone, &micros),
        Some(text("2000-01-02T00:00:01.5Z"))
    );
    assert_eq!(read(Kind::Int4, &[1]), None);
}
