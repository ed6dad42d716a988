//! What the server does and has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::histogram::Histogram;

/// How many runs the percentiles are taken over.
const REMEMBERED: usize = 1000;

/// Counts up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All numbers.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) requests: Counter,
    pub(crate) denied: Counter,
    pub(crate) commands: Counter,
    pub(crate) failed_starts: Counter,
    pub(crate) warm: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) running: AtomicU64,
    /// From a run's arrival to its command's end.
    pub(crate) run_seconds: Histogram,
    /// From a run's arrival to its command's start.
    pub(crate) start_seconds: Histogram,
    lately: Mutex<Lately>,
}

#[derive(Debug, Default)]
struct Lately {
    durations: Vec<Duration>,
    next: usize,
}

impl Statistics {
    /// A run has ended.
    pub(crate) fn ran(&self, duration: Duration) {
        self.run_seconds.observe(duration);
        let mut lately = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        let next = lately.next;
        match lately.durations.get_mut(next) {
            Some(place) => *place = duration,
            None => lately.durations.push(duration),
        }
        lately.next = (next + 1) % REMEMBERED;
    }

    /// Median and 99th percentile of the last runs, in milliseconds; zero where there were none.
    pub(crate) fn percentiles_ms(&self) -> (f64, f64) {
        let mut durations = self.lately.lock().unwrap_or_else(PoisonError::into_inner).durations.clone();
        durations.sort_unstable();
        let at = |hundredths: usize| {
            // The nearest rank.
            let rank = (durations.len() * hundredths).div_ceil(100).max(1);
            durations.get(rank - 1).map_or(0.0, |duration| duration.as_secs_f64() * 1000.0)
        };
        (at(50), at(99))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_last_runs() {
        let statistics = Statistics::default();
        assert_eq!(statistics.percentiles_ms(), (0.0, 0.0));
        for _ in 0..REMEMBERED {
            statistics.ran(Duration::from_secs(100));
        }
        for ms in 1..=REMEMBERED as u64 {
            statistics.ran(Duration::from_millis(ms));
        }
        assert_eq!(statistics.percentiles_ms(), (500.0, 990.0));
    }
}
