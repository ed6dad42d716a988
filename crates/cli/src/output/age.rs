//! Times for people: how long ago, how long.

use std::time::{Duration, SystemTime};

/// `3s`, `5m`, `2h`, `9d`: one unit is enough to see what is old.
pub(crate) fn short_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago a record's time (RFC 3339, UTC) was; the text itself where it can't be read.
pub(crate) fn age_of(created_at: &str) -> String {
    match humantime::parse_rfc3339(created_at) {
        Ok(then) => short_duration(SystemTime::now().duration_since(then).unwrap_or_default()),
        Err(_) => created_at.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_count_from_now_and_odd_texts_stay() {
        let hour_ago = SystemTime::now() - Duration::from_secs(3600);
        assert_eq!(age_of(&humantime::format_rfc3339_seconds(hour_ago).to_string()), "1h");
        assert_eq!(age_of("yesterday"), "yesterday");
    }

    #[test]
    fn one_unit_is_shown() {
        let shown = [0, 59, 60, 7200, 200_000].map(|seconds| short_duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "59s", "1m", "2h", "2d"]);
    }
}
