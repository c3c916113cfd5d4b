//! `grpc-timeout`: up to eight digits and a unit.

use std::time::Duration;

use http::HeaderMap;
use trust::{Reason, Refusal};

const NAME: &str = "grpc-timeout";

/// The timeout that a caller set, if any.
///
/// # Errors
/// `InvalidMetadata` when the header is not of the form that gRPC describes.
pub(crate) fn parse(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(NAME) else {
        return Ok(None);
    };
    let invalid = || Refusal::new(Reason::InvalidMetadata, "grpc-timeout is not a timeout");
    let text = value.to_str().map_err(|_| invalid())?;
    let unit = text.chars().last().ok_or_else(invalid)?;
    let digits = text.strip_suffix(unit).ok_or_else(invalid)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid());
    }
    let amount: u64 = digits.parse().map_err(|_| invalid())?;
    let timeout = match unit {
        'H' => Duration::from_secs(amount * 3600),
        'M' => Duration::from_secs(amount * 60),
        'S' => Duration::from_secs(amount),
        'm' => Duration::from_millis(amount),
        'u' => Duration::from_micros(amount),
        'n' => Duration::from_nanos(amount),
        _ => return Err(invalid()),
    };
    Ok(Some(timeout))
}

/// The header for what is left, never more than `left`.
pub(crate) fn format(left: Duration) -> String {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let units = [
        (left.as_micros(), 'u'),
        (left.as_millis(), 'm'),
        (left.as_secs().into(), 'S'),
    ];
    units
        .into_iter()
        .find(|(amount, _)| *amount <= EIGHT_DIGITS)
        .map_or_else(
            || "99999999S".to_owned(),
            |(amount, unit)| format!("{amount}{unit}"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Duration>, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(NAME, text.parse().unwrap());
        parse(&headers)
    }

    #[test]
    fn every_unit_is_understood_and_nothing_else() {
        assert_eq!(parsed("2H").unwrap(), Some(Duration::from_secs(7200)));
        assert_eq!(parsed("3M").unwrap(), Some(Duration::from_secs(180)));
        assert_eq!(
            parsed("99999999m").unwrap(),
            Some(Duration::from_millis(99_999_999))
        );
        assert_eq!(parsed("5n").unwrap(), Some(Duration::from_nanos(5)));
        for text in ["", "5", "m", "-1S", "1.5S", "123456789S", "1s", "1 S"] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_understood_and_never_longer() {
        for left in [0, 1, 999, 100_000_000, 99_999_999_999_999_u64].map(Duration::from_micros) {
            let again = parsed(&format(left)).unwrap().unwrap();
            assert!(
                again <= left && left - again < Duration::from_secs(1),
                "{left:?}"
            );
        }
    }
}
