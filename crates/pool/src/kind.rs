//! Boxes of one kind: those that wait, and those who wait for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{BackendError, EphemeralBox};
use agentkernel_model::{Mib, SandboxSpec};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::PoolKey;
use crate::burials::Burials;
use crate::lane::Lane;
use crate::pooled_box::PooledBox;
use crate::settings::machine_memory;
use crate::status::KindStatus;

pub(crate) type Made = Box<dyn EphemeralBox>;

/// The first pause after a failure; each further one is twice as long.
const SHORTEST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(60);

pub(crate) struct Kind {
    pub(crate) lane: Arc<Lane>,
    pub(crate) spec: SandboxSpec,
    /// What one counts for in the memory budget.
    pub(crate) cost: Mib,
    /// Oldest first.
    pub(crate) ready: VecDeque<Waiting>,
    /// Longest waiting first.
    pub(crate) takers: VecDeque<oneshot::Sender<Result<PooledBox, BackendError>>>,
    pub(crate) starting: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// How many are to be ready now, between `min` and `max`.
    pub(crate) wanted: u32,
    /// Whether it is kept for good.
    pub(crate) pinned: bool,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Counts up with each use of any kind.
    pub(crate) used: u64,
    pub(crate) used_at: Instant,
    pub(crate) problem: Option<String>,
    failures: u32,
    /// No boxes are made ahead before.
    pub(crate) rest_until: Option<Instant>,
    /// Whether somebody will look again when the rest is over.
    pub(crate) alarm: bool,
}

/// A box that waits.
pub(crate) struct Waiting {
    pub(crate) id: u64,
    pub(crate) made: Made,
    /// What its backend was like when it was made.
    pub(crate) variant: String,
    pub(crate) watcher: AbortHandle,
}

impl Waiting {
    /// The box, which nobody watches any more.
    pub(crate) fn free(self) -> Made {
        self.watcher.abort();
        self.made
    }
}

impl Kind {
    pub(crate) fn new(lane: Arc<Lane>, spec: SandboxSpec, min: u32, max: u32) -> Self {
        let share = || Mib((machine_memory().0 / 16).max(1));
        Self {
            lane,
            cost: spec.resources.memory.unwrap_or_else(share),
            spec,
            ready: VecDeque::new(),
            takers: VecDeque::new(),
            starting: 0,
            min,
            max,
            wanted: min,
            pinned: false,
            hits: 0,
            misses: 0,
            used: 0,
            used_at: Instant::now(),
            problem: None,
            failures: 0,
            rest_until: None,
            alarm: false,
        }
    }

    pub(crate) fn ready_count(&self) -> u32 {
        u32::try_from(self.ready.len()).unwrap_or(u32::MAX)
    }

    /// Who still waits.
    pub(crate) fn taker_count(&mut self) -> u32 {
        self.takers.retain(|taker| !taker.is_closed());
        u32::try_from(self.takers.len()).unwrap_or(u32::MAX)
    }

    /// What wait, or will when they are made, as far as nobody is known who takes them.
    pub(crate) fn ahead(&self) -> u32 {
        let takers = u32::try_from(self.takers.len()).unwrap_or(u32::MAX);
        self.ready_count() + self.starting.saturating_sub(takers)
    }

    /// A box that waits and was made under circumstances that still hold; those that were not are added to `gone`.
    pub(crate) fn take(&mut self, gone: &mut Vec<Made>) -> Option<Made> {
        let now = match self.ready.is_empty() {
            true => String::new(),
            false => self.lane.backend.variant(),
        };
        let mut made = None;
        while made.is_none()
            && let Some(waiting) = self.ready.pop_front()
        {
            match waiting.variant == now {
                true => made = Some(waiting.free()),
                false => gone.push(waiting.free()),
            }
        }
        let first = self.hits + self.misses == 0;
        match made {
            Some(_) => self.hits += 1,
            None => {
                self.misses += 1;
                // More at once than expected: expect more.
                self.wanted = if first { self.wanted } else { (self.wanted + 1).min(self.max) };
            }
        }
        made
    }

    /// Gives `made` to who waits longest; the box again where nobody does. It goes as one that is buried wherever it is
    /// dropped: its taker may go at any moment.
    pub(crate) fn give(&mut self, made: Made, burials: &Burials) -> Option<Made> {
        let mut made = PooledBox::new(made, false, burials.clone());
        while let Some(taker) = self.takers.pop_front() {
            match taker.send(Ok(made)) {
                Ok(()) | Err(Err(_)) => return None,
                Err(Ok(again)) => made = again,
            }
        }
        made.into_inner()
    }

    /// Tells who waits longest why there is none.
    pub(crate) fn refuse(&mut self, mut error: BackendError) {
        while let Some(taker) = self.takers.pop_front() {
            match taker.send(Err(error)) {
                Err(Err(again)) => error = again,
                _ => return,
            }
        }
    }

    /// Notes a failure: the next try waits longer than the last.
    pub(crate) fn failed(&mut self, why: String) {
        let doublings = self.failures.min(16);
        self.failures += 1;
        self.problem = Some(why);
        let rest = SHORTEST_REST.saturating_mul(1 << doublings).min(LONGEST_REST);
        self.rest_until = Some(Instant::now() + rest);
    }

    /// One was made and serves.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.problem = None;
        self.rest_until = None;
    }

    pub(crate) fn rests(&self) -> bool {
        self.rest_until.is_some_and(|until| until > Instant::now())
    }

    pub(crate) fn status(&self, key: &PoolKey) -> KindStatus {
        KindStatus {
            id: key.id(),
            backend: self.spec.backend.clone(),
            image: self.spec.image.clone(),
            profile: self.spec.profile,
            ready: self.ready_count(),
            starting: self.starting,
            min: self.min,
            max: self.max,
            hits: self.hits,
            misses: self.misses,
            problem: self.problem.clone(),
        }
    }
}
