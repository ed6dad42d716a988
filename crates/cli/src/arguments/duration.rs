//! Durations as people write them.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give a duration such as 500ms, 30s, 5m or 1h30m (a bare number is seconds)")]
pub(crate) struct DurationError;

/// Reads `90`, `500ms`, `30s`, `5m`, `1h30m`. Zero is refused: it would mean "at once" to some and "never" to others.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| DurationError)?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let milliseconds = match &rest[..letters] {
            "ms" => Some(number),
            "s" => number.checked_mul(1000),
            "m" => number.checked_mul(60_000),
            "h" => number.checked_mul(3_600_000),
            // Only a number that stands alone may leave out its unit.
            "" if total == Duration::ZERO && rest.is_empty() => number.checked_mul(1000),
            _ => None,
        };
        let part = Duration::from_millis(milliseconds.ok_or(DurationError)?);
        total = total.checked_add(part).ok_or(DurationError)?;
        rest = &rest[letters..];
    }
    if total == Duration::ZERO { Err(DurationError) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_understood_and_added() {
        for (text, milliseconds) in
            [("90", 90_000), ("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h30m", 5_400_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "0", "0s", "-1s", "1.5s", "s", "5 m", "1h30", "5d", "99999999999999999999", "5ß"] {
            assert_eq!(parse_duration(bad), Err(DurationError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,12}") {
            if let Ok(duration) = parse_duration(&text) {
                prop_assert!(duration > Duration::ZERO);
            }
        }
    }
}
