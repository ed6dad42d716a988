//! When a failed request is made again.

use std::time::Duration;

use crate::Patience;
use crate::registry::failure::Failure;

/// Counts the failures in a row.
#[derive(Debug)]
pub(crate) struct Backoff {
    patience: Patience,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, failures: 0 }
    }

    /// Something was got: counts anew.
    pub(crate) fn progressed(&mut self) {
        self.failures = 0;
    }

    /// The pause before the next attempt; `None`: give up. Where a server was never reached (`is_known` is false), one
    /// further attempt is enough: who works offline shall not wait.
    pub(crate) fn next(&mut self, failure: &Failure, is_known: bool) -> Option<Duration> {
        let Failure::Passing { pause, is_connected, .. } = failure else { return None };
        self.failures += 1;
        let most =
            if *is_connected || is_known { self.patience.attempts } else { self.patience.attempts.min(2) };
        if self.failures >= most {
            return None;
        }
        let own = self.patience.first_pause.saturating_mul(1 << (self.failures - 1).min(16));
        Some(pause.unwrap_or(own).max(own).min(self.patience.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing(pause: Option<u64>, is_connected: bool) -> Failure {
        Failure::Passing { why: String::new(), pause: pause.map(Duration::from_secs), is_connected }
    }

    #[test]
    fn pauses_double_and_are_bounded_whatever_the_server_asks() {
        let mut backoff = Backoff::new(Patience::default());
        let pauses: Vec<_> = [None, Some(3), Some(1 << 40)]
            .map(|asked| backoff.next(&passing(asked, true), false).unwrap().as_millis())
            .into();
        assert_eq!(pauses, [500, 3_000, 30_000]);
        assert!(backoff.next(&passing(None, true), false).is_some());
        assert_eq!(backoff.next(&passing(None, true), false), None);
        backoff.progressed();
        assert_eq!(backoff.next(&passing(None, true), false), Some(Duration::from_millis(500)));
    }

    #[test]
    fn who_was_never_reached_is_tried_twice_and_what_is_final_once() {
        let mut backoff = Backoff::new(Patience::default());
        assert!(backoff.next(&passing(None, false), false).is_some());
        assert!(backoff.next(&passing(None, false), false).is_none());
        assert!(Backoff::new(Patience::default()).next(&Failure::Absent(String::new()), true).is_none());
    }
}
