//! What is done about requests that were refused: they are counted, and written down as far as that can't be used to
//! flood the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use agentkernel_api::ErrorCode;
use agentkernel_service::{Caller, Scope, Service};

use super::Door;

/// Denials that are written at once; more come at [`PER_SECOND`].
const BURST: f64 = 50.0;
/// Denials that are written a second, in the long run.
const PER_SECOND: f64 = 2.0;

/// One request that was refused at the door.
#[derive(Debug, Clone, Copy)]
pub struct Denied<'a> {
    /// Whose key it was, where it was somebody's.
    pub caller: Option<&'a str>,
    /// Where it came in.
    pub door: &'a Door,
    /// Why.
    pub code: ErrorCode,
    /// The same for people.
    pub why: &'a str,
    /// The method and the route that was asked for, as registered: no name and no value that a stranger chose.
    pub route: &'a str,
    /// How many before it were not written down.
    pub unwritten: u64,
}

/// Who writes denials down and counts them.
pub trait DenialSink: Send + Sync {
    /// One that is not written down, for statistics.
    fn count(&self);
    /// One to write down and to count; as many as the log can bear.
    fn write(&self, denied: &Denied<'_>);
    /// A request was answered, whatever the answer.
    fn answered(&self);
}

impl DenialSink for Service {
    fn count(&self) {
        self.request_denied();
    }

    fn answered(&self) {
        self.request_answered();
    }

    fn write(&self, denied: &Denied<'_>) {
        let caller = Caller {
            name: denied.caller.unwrap_or("unknown").to_owned(),
            scope: Scope::Read,
            quota: None,
            from: denied.door.to_string(),
        };
        let unwritten = match denied.unwritten {
            0 => String::new(),
            more => format!(" ({more} refusals before this one are not written down)"),
        };
        self.denied(&caller, "request", &format!("{}: {}{unwritten}", denied.route, denied.why));
    }
}

/// Counts all and passes on some.
#[derive(Clone)]
pub(crate) struct Denials {
    inner: Arc<Inner>,
}

struct Inner {
    sink: Arc<dyn DenialSink>,
    allowance: Mutex<Allowance>,
    unwritten: AtomicU64,
}

struct Allowance {
    left: f64,
    since: Instant,
}

impl Denials {
    pub(crate) fn answered(&self) {
        self.inner.sink.answered();
    }

    pub(crate) fn new(sink: Arc<dyn DenialSink>) -> Self {
        let allowance = Mutex::new(Allowance { left: BURST, since: Instant::now() });
        Self { inner: Arc::new(Inner { sink, allowance, unwritten: AtomicU64::new(0) }) }
    }

    pub(crate) fn add(&self, denied: Denied<'_>) {
        let inner = &*self.inner;
        if !inner.allowed(Instant::now()) {
            inner.sink.count();
            inner.unwritten.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let denied = Denied { unwritten: inner.unwritten.swap(0, Ordering::Relaxed), ..denied };
        tracing::warn!(door = %denied.door, code = ?denied.code, route = denied.route, "refused: {}", denied.why);
        inner.sink.write(&denied);
    }
}

impl Inner {
    fn allowed(&self, now: Instant) -> bool {
        let mut allowance = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        let earned = now.saturating_duration_since(allowance.since).as_secs_f64() * PER_SECOND;
        allowance.left = (allowance.left + earned).min(BURST);
        allowance.since = now;
        if allowance.left < 1.0 {
            return false;
        }
        allowance.left -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Counts(AtomicU64, AtomicU64);

    impl DenialSink for Counts {
        fn count(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn answered(&self) {}
        fn write(&self, denied: &Denied<'_>) {
            self.1.fetch_add(1 + denied.unwritten * 1000, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_flood_is_counted_and_does_not_fill_the_log() {
        let counts = Arc::new(Counts(AtomicU64::new(0), AtomicU64::new(0)));
        let denials = Denials::new(Arc::<Counts>::clone(&counts));
        let door = Door::Unix { uid: 7 };
        let denied = Denied {
            caller: None,
            door: &door,
            code: ErrorCode::Unauthorized,
            why: "x",
            route: "y",
            unwritten: 0,
        };
        (0..1000).for_each(|_| denials.add(denied));
        let written = counts.1.load(Ordering::Relaxed);
        assert_eq!(counts.0.load(Ordering::Relaxed) + written, 1000);
        assert!((50..60).contains(&written), "{written}");
        assert!(
            denials.inner.allowed(Instant::now() + Duration::from_secs(1)),
            "later ones are written again"
        );
        assert!(denials.inner.unwritten.load(Ordering::Relaxed) >= 940);
    }
}
