//! PostgreSQL's `numeric`: groups of four decimal digits (`numeric_send` in `numeric.c`).

const SIGN_NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xc000;
const POSITIVE_INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// The number in decimal digits, with as many behind the point as its column has.
pub(super) fn read(bytes: &[u8]) -> Option<String> {
    let mut words = bytes
        .chunks_exact(2)
        .map(|two| u16::from_be_bytes([two[0], two[1]]));
    let count = usize::from(words.next()?);
    #[allow(clippy::cast_possible_wrap, reason = "a signed number in the format")]
    let weight = i32::from(words.next()? as i16);
    let sign = words.next()?;
    let scale = usize::from(words.next()?);
    match sign {
        NOT_A_NUMBER => return Some("NaN".to_owned()),
        POSITIVE_INFINITY => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let groups: Vec<u16> = words.collect();
    if groups.len() != count || groups.iter().any(|group| *group > 9999) {
        return None;
    }
    // The group that counts 10000 to the power of `exponent`.
    let group = |exponent: i32| {
        let position = usize::try_from(weight - exponent).ok();
        position
            .and_then(|position| groups.get(position))
            .copied()
            .unwrap_or(0)
    };
    let whole: String = (0..=weight.max(0))
        .rev()
        .map(|exponent| format!("{:04}", group(exponent)))
        .collect();
    let behind: String = (1..=scale.div_ceil(4))
        .map(|place| format!("{:04}", group(-i32::try_from(place).unwrap_or(i32::MAX))))
        .collect();
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let sign = if sign == SIGN_NEGATIVE { "-" } else { "" };
    Some(
        match behind.get(..scale).filter(|behind| !behind.is_empty()) {
            Some(behind) => format!("{sign}{whole}.{behind}"),
            None => format!("{sign}{whole}"),
        },
    )
}

/// A whole number.
pub(super) fn write(number: i64) -> Vec<u8> {
    let mut rest = number.unsigned_abs();
    let mut groups = Vec::new();
    while rest > 0 {
        groups.push(u16::try_from(rest % 10_000).unwrap_or_default());
        rest /= 10_000;
    }
    let count = u16::try_from(groups.len()).unwrap_or_default();
    let sign = if number < 0 { SIGN_NEGATIVE } else { 0 };
    let header = [count, count.saturating_sub(1), sign, 0];
    let words = header.into_iter().chain(groups.into_iter().rev());
    words.flat_map(u16::to_be_bytes).collect()
}
