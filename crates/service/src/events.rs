//! What happened lately, for whoever follows it: one ring that all subscribers read at their own pace. Nobody who reads
//! slowly holds up anybody; who has fallen behind is told so.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use agentkernel_api::{Event, EventKind};
use tokio::sync::watch;

use crate::view::timestamp;

/// How many events are kept.
const KEPT: usize = 10_000;

/// The ring. Its events are numbered from 1 without gaps.
pub(crate) struct EventLog {
    kept: Mutex<VecDeque<Arc<Event>>>,
    last: watch::Sender<u64>,
    capacity: usize,
}

impl EventLog {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_capacity(KEPT)
    }

    fn with_capacity(capacity: usize) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), last: watch::Sender::new(0), capacity })
    }

    /// Adds one.
    pub(crate) fn emit<const N: usize>(
        &self,
        kind: EventKind,
        sandbox: Option<&str>,
        fields: [(&'static str, String); N],
    ) {
        let fields: BTreeMap<String, String> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let timestamp = timestamp(SystemTime::now());
        let sandbox = sandbox.map(str::to_owned);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *self.last.borrow() + 1;
        if kept.len() == self.capacity {
            kept.pop_front();
        }
        kept.push_back(Arc::new(Event { id, timestamp, kind, sandbox, fields }));
        // Within the lock, so that numbers never go backwards.
        self.last.send_replace(id);
    }

    /// Follows from the event behind `after` on; from now on where that is `None`.
    pub(crate) fn subscribe(self: &Arc<Self>, after: Option<u64>) -> EventStream {
        let last = self.last.subscribe();
        let newest = *last.borrow();
        // A number of the future is of a server that ran before this one.
        let (next, missed) = match after {
            Some(after) if after > newest => (newest + 1, true),
            Some(after) => (after + 1, false),
            None => (newest + 1, false),
        };
        EventStream { log: Arc::clone(self), last, next, missed }
    }
}

/// The events of the server, from some point on. Never ends; there is always room for another subscriber.
pub struct EventStream {
    log: Arc<EventLog>,
    last: watch::Receiver<u64>,
    next: u64,
    missed: bool,
}

impl EventStream {
    /// The next event; [`EventKind::Missed`] where some are no longer kept. Waits while nothing happens. Dropping the
    /// future loses nothing.
    pub async fn next(&mut self) -> Arc<Event> {
        loop {
            if let Some(event) = self.next_kept() {
                return event;
            }
            // The log is held here, so that its sender lives.
            self.last.wait_for(|last| *last >= self.next).await.ok();
        }
    }

    /// The next event of those that have happened; `None` where that were all.
    pub fn next_kept(&mut self) -> Option<Arc<Event>> {
        if std::mem::take(&mut self.missed) {
            return Some(Arc::new(missed(self.next.saturating_sub(1))));
        }
        let kept = self.log.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let first = kept.front()?.id;
        if self.next < first {
            self.next = first;
            return Some(Arc::new(missed(first - 1)));
        }
        let event = kept.get(usize::try_from(self.next - first).ok()?)?;
        self.next += 1;
        Some(Arc::clone(event))
    }
}

/// Has the number of the last event that was missed: who resumes behind it misses no more.
fn missed(id: u64) -> Event {
    Event {
        id,
        timestamp: timestamp(SystemTime::now()),
        kind: EventKind::Missed,
        sandbox: None,
        fields: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emit(log: &EventLog, count: usize) {
        for n in 0..count {
            log.emit(EventKind::CommandStarted, None, [("n", n.to_string())]);
        }
    }

    #[tokio::test]
    async fn a_subscriber_goes_on_where_it_stopped() {
        let log = EventLog::new();
        emit(&log, 3);
        let mut resumed = log.subscribe(Some(1));
        assert_eq!((resumed.next().await.id, resumed.next().await.id), (2, 3));
        let mut fresh = log.subscribe(None);
        let (event, ()) = tokio::join!(fresh.next(), async { emit(&log, 1) });
        assert_eq!(event.id, 4);
        assert_eq!(resumed.next().await.id, 4);
    }

    #[tokio::test]
    async fn who_falls_behind_is_told_and_goes_on() {
        let log = EventLog::with_capacity(4);
        let mut slow = log.subscribe(None);
        emit(&log, 10);
        let event = slow.next().await;
        assert_eq!((event.kind, event.id), (EventKind::Missed, 6));
        assert_eq!(slow.next().await.id, 7);
    }

    #[tokio::test]
    async fn a_number_of_an_earlier_server_is_a_miss() {
        let log = EventLog::new();
        emit(&log, 2);
        let mut resumed = log.subscribe(Some(77));
        assert_eq!(resumed.next().await.kind, EventKind::Missed);
        let (event, ()) = tokio::join!(resumed.next(), async { emit(&log, 1) });
        assert_eq!(event.id, 3);
    }
}
