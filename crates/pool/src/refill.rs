//! Making boxes ahead, and watching those that wait.

use std::sync::Arc;

use agentkernel_backend::{BackendError, EndSignal};
use agentkernel_model::SandboxSpec;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::kind::{Made, Waiting};
use crate::lane::{Lane, greet};
use crate::state::State;
use crate::{Pool, PoolKey};

/// A kind that nobody has asked for this many lives of a box is forgotten.
const LIVES: u32 = 3;

impl Pool {
    /// Decides over the kind `key`, and does so; ends `gone`. While the state is locked, so that nobody sees it changed and
    /// what follows not yet under way.
    pub(crate) fn settle(&self, state: &mut State, key: &PoolKey, mut gone: Vec<Made>) {
        let count = state.plan(key, &self.inner.settings, &mut gone);
        gone.into_iter().for_each(|made| self.inner.burials.add(made));
        if let Some(kind) = state.kinds.get_mut(key) {
            for _ in 0..count {
                let (pool, key, entry) = (self.clone(), key.clone(), self.inner.starts.enter());
                let (lane, spec) = (Arc::clone(&kind.lane), kind.spec.clone());
                tokio::spawn(async move {
                    pool.start(&key, &lane, spec).await;
                    drop(entry);
                });
            }
            if let Some(until) = kind.rest_until.filter(|_| kind.rests() && !kind.alarm && !state.closed) {
                kind.alarm = true;
                self.set_alarm(key, until);
            }
        }
        self.inner.changed.notify_waiters();
    }

    /// Looks again at the kind `key` when its rest is over.
    fn set_alarm(&self, key: &PoolKey, until: Instant) {
        let (pool, key) = (Arc::downgrade(&self.inner), key.clone());
        tokio::spawn(async move {
            // sleep: a backend that failed is left in peace for a while.
            sleep_until(until).await;
            if let Some(inner) = pool.upgrade() {
                Pool { inner }.change(&key, |state| {
                    if let Some(kind) = state.kinds.get_mut(&key) {
                        kind.alarm = false;
                    }
                    Vec::new()
                });
            }
        });
    }

    /// Changes the state, whose boxes that are to go `change` returns, and decides anew over the kind `key`.
    fn change(&self, key: &PoolKey, change: impl FnOnce(&mut State) -> Vec<Made>) {
        let mut state = self.state();
        let gone = change(&mut state);
        self.settle(&mut state, key, gone);
    }

    /// Makes one box of the kind `key`, for whoever waits or to wait itself.
    async fn start(&self, key: &PoolKey, lane: &Lane, spec: SandboxSpec) {
        // Closed by nobody.
        let place = lane.places.acquire().await;
        if !self.is_needed(key) {
            return;
        }
        // Before it is made: what changes meanwhile makes it stale.
        let variant = lane.backend.variant();
        let made = match lane.launch(spec).await {
            Ok(made) => made,
            Err(error) => return self.note_failure(key, error),
        };
        // Who waits needs no hello first: requests are sent with ours.
        let Some(made) = self.give(key, made) else { return };
        match greet(made).await {
            Ok(made) => self.store(key, made, variant),
            Err((made, error)) => {
                self.inner.burials.add(made);
                self.note_failure(key, error);
            }
        }
        drop(place);
    }

    /// Whether a box that was to be made still is; else it no longer counts.
    fn is_needed(&self, key: &PoolKey) -> bool {
        let mut state = self.state();
        let closed = state.closed;
        let Some(kind) = state.kinds.get_mut(key) else { return false };
        let needed = kind.taker_count() > 0 || (!closed && kind.ahead() <= kind.wanted);
        if !needed {
            kind.starting = kind.starting.saturating_sub(1);
            self.inner.changed.notify_waiters();
        }
        needed
    }

    /// Gives `made` to who waits; the box again where nobody does.
    fn give(&self, key: &PoolKey, made: Made) -> Option<Made> {
        let mut state = self.state();
        let Some(kind) = state.kinds.get_mut(key) else { return Some(made) };
        let left = kind.give(made, &self.inner.burials);
        self.inner.changed.notify_waiters();
        if left.is_none() {
            kind.starting = kind.starting.saturating_sub(1);
            kind.succeeded();
        }
        left
    }

    /// Lets `made` wait, where it is still wanted.
    fn store(&self, key: &PoolKey, made: Made, variant: String) {
        let end = made.end();
        self.change(key, |state| {
            let (closed, id) = (state.closed, state.number());
            let Some(kind) = state.kinds.get_mut(key) else { return vec![made] };
            kind.starting = kind.starting.saturating_sub(1);
            let Some(made) = kind.give(made, &self.inner.burials) else { return Vec::new() };
            let Some(end) = end else {
                (kind.min, kind.wanted) = (0, 0);
                kind.problem = Some("such sandboxes can't be watched while they wait".to_owned());
                return vec![made];
            };
            if closed || kind.ready_count() >= kind.wanted {
                return vec![made];
            }
            kind.succeeded();
            let watcher = self.watch(key, id, end);
            kind.ready.push_back(Waiting { id, made, variant, watcher });
            Vec::new()
        });
    }

    fn note_failure(&self, key: &PoolKey, error: BackendError) {
        tracing::debug!(%error, kind = key.id(), "a sandbox could not be made ahead");
        self.change(key, |state| {
            if let Some(kind) = state.kinds.get_mut(key) {
                kind.starting = kind.starting.saturating_sub(1);
                kind.failed(error.to_string());
                kind.refuse(error);
            }
            Vec::new()
        });
    }

    /// Waits for the end or the age of the box `id`.
    fn watch(&self, key: &PoolKey, id: u64, end: EndSignal) -> AbortHandle {
        let (pool, key) = (Arc::downgrade(&self.inner), key.clone());
        let too_old = Instant::now() + self.inner.settings.max_age;
        let watcher = tokio::spawn(async move {
            let died = timeout_at(too_old, end).await.is_ok();
            if let Some(inner) = pool.upgrade() {
                Pool { inner }.lose(&key, id, died);
            }
        });
        watcher.abort_handle()
    }

    /// The box `id` waits no longer.
    fn lose(&self, key: &PoolKey, id: u64, died: bool) {
        let long_ago = self.inner.settings.max_age.saturating_mul(LIVES);
        self.change(key, |state| {
            let Some(kind) = state.kinds.get_mut(key) else { return Vec::new() };
            let Some(place) = kind.ready.iter().position(|waiting| waiting.id == id) else {
                return Vec::new();
            };
            let mut gone: Vec<Made> =
                kind.ready.remove(place).map(|waiting| waiting.made).into_iter().collect();
            if died {
                kind.failed("a sandbox ended while it waited".to_owned());
                return gone;
            }
            // Nobody wanted it for its whole life.
            kind.wanted = (kind.wanted / 2).max(kind.min);
            if !kind.pinned && kind.used_at.elapsed() >= long_ago && kind.taker_count() == 0 {
                gone.extend(state.forget(key).into_iter().flatten());
            }
            gone
        });
    }
}
