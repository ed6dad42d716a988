//! How much runs at the same time, who waits, and each caller's share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentkernel_api::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Caller, Limits, ServiceError};

/// When a client that found no room should come again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Room for commands and for starts, in the order of asking.
pub(crate) struct Admission {
    runs: Arc<Semaphore>,
    starts: Arc<Semaphore>,
    max_queued: u64,
    queue_timeout: Duration,
    queued: AtomicU64,
    shares: Arc<Mutex<HashMap<String, Share>>>,
}

/// What one caller has taken of its quota.
struct Share {
    running: u32,
    /// Requests that may come at once now.
    tokens: f64,
    since: Instant,
}

/// Leave to run one command, until it is dropped.
#[derive(Debug)]
pub(crate) struct Leave {
    _run: OwnedSemaphorePermit,
    _share: Option<Running>,
}

/// One of a caller's commands that run at the same time.
struct Running {
    shares: Arc<Mutex<HashMap<String, Share>>>,
    caller: String,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Running").field(&self.caller).finish()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get_mut(&self.caller) {
            share.running = share.running.saturating_sub(1);
        }
    }
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let room = |count: u32| Arc::new(Semaphore::new((count.max(1) as usize).min(Semaphore::MAX_PERMITS)));
        Self {
            runs: room(limits.max_concurrent_runs),
            starts: room(limits.max_concurrent_starts),
            max_queued: u64::from(limits.max_queued),
            queue_timeout: limits.queue_timeout,
            queued: AtomicU64::new(0),
            shares: Arc::default(),
        }
    }

    /// Requests that wait.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Counts one request against the caller's minute.
    pub(crate) fn count(&self, caller: &Caller) -> Result<(), ServiceError> {
        let Some(per_minute) = caller.quota.and_then(|quota| quota.per_minute) else { return Ok(()) };
        let wait = self.with_share(caller, |share| share.take(per_minute, Instant::now()));
        match wait {
            None => Ok(()),
            Some(wait) => {
                let message = format!("key {:?} may make {per_minute} requests a minute", caller.name);
                Err(ServiceError::new(ErrorCode::QuotaExceeded, message).retry_after(wait))
            }
        }
    }

    /// Waits for room for one command.
    pub(crate) async fn enter(&self, caller: &Caller) -> Result<Leave, ServiceError> {
        self.count(caller)?;
        let share = self.run_of(caller)?;
        let run = self.wait(&self.runs).await?;
        Ok(Leave { _run: run, _share: share })
    }

    /// Waits for room to start a sandbox.
    pub(crate) async fn start(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        self.wait(&self.starts).await
    }

    fn run_of(&self, caller: &Caller) -> Result<Option<Running>, ServiceError> {
        let Some(concurrent) = caller.quota.and_then(|quota| quota.concurrent) else { return Ok(None) };
        let taken = self.with_share(caller, |share| {
            let free = share.running < concurrent;
            share.running += u32::from(free);
            free
        });
        if taken {
            return Ok(Some(Running { shares: Arc::clone(&self.shares), caller: caller.name.clone() }));
        }
        let message = format!("key {:?} may run {concurrent} commands at the same time", caller.name);
        Err(ServiceError::new(ErrorCode::QuotaExceeded, message).retry_after(BUSY_RETRY))
    }

    fn with_share<T>(&self, caller: &Caller, use_it: impl FnOnce(&mut Share) -> T) -> T {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded by the number of keys: only callers with a quota are here.
        let share = shares.entry(caller.name.clone()).or_insert_with(|| Share {
            running: 0,
            tokens: f64::INFINITY,
            since: Instant::now(),
        });
        use_it(share)
    }

    async fn wait(&self, room: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, ServiceError> {
        if let Ok(permit) = Arc::clone(room).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = Place::take(&self.queued, self.max_queued)?;
        match tokio::time::timeout(self.queue_timeout, Arc::clone(room).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            // It is never closed.
            Ok(Err(_)) => Err(ServiceError::new(ErrorCode::ShuttingDown, "the server is going down")),
            Err(_) => {
                let waited = self.queue_timeout.as_secs_f64();
                Err(busy(format!("no room for another command within {waited} s; come again later")))
            }
        }
    }
}

fn busy(message: String) -> ServiceError {
    ServiceError::new(ErrorCode::Busy, message).retry_after(BUSY_RETRY)
}

/// A place in the queue.
struct Place<'a>(&'a AtomicU64);

impl<'a> Place<'a> {
    fn take(queued: &'a AtomicU64, most: u64) -> Result<Self, ServiceError> {
        let place = Self(queued);
        if queued.fetch_add(1, Ordering::Relaxed) < most {
            return Ok(place);
        }
        Err(busy(format!("{most} requests wait already; come again later")))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// Takes one of a minute's requests; where there is none, how long until there is.
    fn take(&mut self, per_minute: u32, now: Instant) -> Option<Duration> {
        let a_second = f64::from(per_minute) / 60.0;
        let gained = now.saturating_duration_since(self.since).as_secs_f64() * a_second;
        self.tokens = (self.tokens + gained).min(f64::from(per_minute));
        self.since = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        if per_minute == 0 {
            return Some(Duration::from_secs(60));
        }
        Some(Duration::from_secs_f64(((1.0 - self.tokens) / a_second).max(0.001)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quota, Scope};

    fn caller(quota: Quota) -> Caller {
        Caller { name: "key".to_owned(), scope: Scope::Run, quota: Some(quota), from: "test".to_owned() }
    }

    #[test]
    fn a_minutes_requests_come_at_once_and_then_one_by_one() {
        let start = Instant::now();
        let mut share = Share { running: 0, tokens: f64::INFINITY, since: start };
        for _ in 0..6 {
            assert_eq!(share.take(6, start), None);
        }
        let wait = share.take(6, start).unwrap();
        assert!((9.9..=10.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(share.take(6, start + Duration::from_millis(10_001)), None);
        assert!(share.take(6, start + Duration::from_millis(10_002)).is_some());
        assert!(Share { running: 0, tokens: f64::INFINITY, since: start }.take(0, start).is_some());
    }

    #[tokio::test]
    async fn a_quota_of_commands_is_given_back() {
        let admission = Admission::new(&Limits::default());
        let caller = caller(Quota { concurrent: Some(1), per_minute: None });
        let leave = admission.enter(&caller).await.unwrap();
        let refused = admission.enter(&caller).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::QuotaExceeded);
        assert!(refused.retry_after.is_some());
        drop(leave);
        admission.enter(&caller).await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_too_long_or_finds_no_place_is_told_to_come_again() {
        let limits = Limits {
            max_concurrent_runs: 1,
            max_queued: 1,
            queue_timeout: Duration::from_millis(20),
            ..Limits::default()
        };
        let admission = Admission::new(&limits);
        let anybody = Caller::local("test");
        let leave = admission.enter(&anybody).await.unwrap();
        let (first, second) = tokio::join!(admission.enter(&anybody), admission.enter(&anybody));
        for refused in [first.unwrap_err(), second.unwrap_err()] {
            assert_eq!(refused.code, ErrorCode::Busy);
            assert!(refused.retry_after.is_some());
        }
        assert_eq!(admission.queued(), 0);
        let (next, ()) = tokio::join!(admission.enter(&anybody), async { drop(leave) });
        next.unwrap();
    }
}
