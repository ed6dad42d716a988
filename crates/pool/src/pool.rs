//! The pool itself: what others call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentkernel_backend::{Backend, BackendError};
use agentkernel_model::{BackendName, Mib, SandboxSpec};
use tokio::sync::{Notify, oneshot};

use crate::burials::{Burials, Epochs};
use crate::key::unpoolable;
use crate::kind::{Kind, Made};
use crate::lane::Lane;
use crate::pooled_backend::PooledBackend;
use crate::pooled_box::PooledBox;
use crate::state::State;
use crate::{PoolError, PoolKey, PoolSettings, PoolStatus, TakeRequest};

/// Boxes that wait, of any number of backends. Cheap to clone. Whatever makes boxes must be called within a tokio runtime
/// of several threads, which has to live as long as the pool.
#[derive(Clone)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: PoolSettings,
    state: Mutex<State>,
    lanes: Mutex<HashMap<BackendName, Arc<Lane>>>,
    pub(crate) burials: Burials,
    /// Boxes that are being made, or are to be.
    pub(crate) starts: Epochs,
    /// Something changed: whoever waits for boxes looks again.
    pub(crate) changed: Notify,
}

impl Pool {
    /// An empty one.
    pub fn new(settings: PoolSettings) -> Self {
        let inner = Inner {
            settings,
            state: Mutex::default(),
            lanes: Mutex::default(),
            burials: Burials::new(),
            starts: Epochs::default(),
            changed: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// What the user decided.
    pub fn settings(&self) -> &PoolSettings {
        &self.inner.settings
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same backend, whose boxes come out of this pool; itself where the pool is switched off.
    pub fn wrap(&self, backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
        if !self.inner.settings.enabled {
            return backend;
        }
        let lane = Lane::new(backend, self.inner.settings.parallel_starts);
        let name = lane.backend.name().clone();
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.insert(name, Arc::clone(&lane));
        Arc::new(PooledBackend { pool: self.clone(), lane })
    }

    pub(crate) fn lane_of(&self, name: &BackendName) -> Option<Arc<Lane>> {
        self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// A box of the kind `key`, where one waits. Another is made in its place.
    pub fn take(&self, key: &PoolKey) -> Option<Box<dyn agentkernel_backend::EphemeralBox>> {
        let (lane, spec) = {
            let state = self.state();
            let kind = state.kinds.get(key)?;
            (Arc::clone(&kind.lane), kind.spec.clone())
        };
        self.take_or_learn(key, &lane, &spec)
    }

    /// What another process of this user asks for: a box that waits, where the request fits it. Where none does, the kind
    /// is learnt.
    pub fn answer(&self, request: &TakeRequest) -> Option<Box<dyn agentkernel_backend::EphemeralBox>> {
        let key = PoolKey::of(&request.spec)?;
        let lane = self.lane_of(&request.spec.backend)?;
        if lane.backend.variant() != request.variant {
            return None;
        }
        self.take_or_learn(&key, &lane, &request.spec)
    }

    fn take_or_learn(&self, key: &PoolKey, lane: &Arc<Lane>, spec: &SandboxSpec) -> Option<Made> {
        let mut state = self.state();
        let mut gone = Vec::new();
        let mut stale = Vec::new();
        let kind = state.learn(key, lane, spec, &self.inner.settings, &mut gone);
        let made = kind.and_then(|kind| kind.take(&mut stale));
        gone.append(&mut stale);
        self.settle(&mut state, key, gone);
        made.map(|made| self.boxed(made, true))
    }

    /// A box for who asked in this process: one that waits, or else the next that is made.
    pub(crate) async fn launch(&self, lane: &Arc<Lane>, spec: &SandboxSpec) -> Result<Made, BackendError> {
        let Some(key) = PoolKey::of(spec) else { return self.launch_apart(lane, spec).await };
        let found = {
            let mut state = self.state();
            let mut gone = Vec::new();
            let mut stale = Vec::new();
            let kind = state.learn(&key, lane, spec, &self.inner.settings, &mut gone);
            let found = kind.map(|kind| kind.take(&mut stale).ok_or_else(|| queue(kind)));
            gone.append(&mut stale);
            self.settle(&mut state, &key, gone);
            found
        };
        match found {
            None => self.launch_apart(lane, spec).await,
            Some(Ok(made)) => Ok(self.boxed(made, true)),
            Some(Err(coming)) => match coming.await {
                Ok(made) => made.map(|made| Box::new(made) as Made),
                // The pool was emptied while we waited.
                Err(_) => self.launch_apart(lane, spec).await,
            },
        }
    }

    /// A box that was not made ahead, whatever waits. Made by a task of its own: where nobody wants it any more when it is
    /// made, it is buried.
    pub(crate) async fn launch_apart(
        &self,
        lane: &Arc<Lane>,
        spec: &SandboxSpec,
    ) -> Result<Made, BackendError> {
        let (pool, lane, spec) = (self.clone(), Arc::clone(lane), spec.clone());
        let (taker, coming) = oneshot::channel();
        let entry = self.inner.starts.enter();
        tokio::spawn(async move {
            let made = lane.launch_in_turn(spec).await.map(|made| pool.boxed(made, false));
            // Dropped where nobody takes it.
            drop(taker.send(made));
            drop(entry);
        });
        let gone = |source| Err(BackendError::runtime("make a sandbox in a task of its own", source));
        coming.await.unwrap_or_else(gone)
    }

    fn boxed(&self, made: Made, warm: bool) -> Made {
        Box::new(PooledBox::new(made, warm, self.inner.burials.clone()))
    }

    /// Keeps between `min` and `max` boxes of `spec`'s kind ready, for good.
    pub fn keep(&self, spec: &SandboxSpec, min: u32, max: u32) -> Result<(), PoolError> {
        self.want(spec, |kind| {
            (kind.min, kind.max, kind.pinned) = (min.min(max), max, true);
            kind.wanted = kind.wanted.max(kind.min);
            Ok(())
        })
        .map(drop)
    }

    /// Makes boxes of `spec`'s kind until `count` wait; how many there are then.
    pub async fn warm(&self, spec: &SandboxSpec, count: u32) -> Result<u32, PoolError> {
        let settings = &self.inner.settings;
        let key = self.want(spec, |kind| {
            if count > kind.max {
                return Err(PoolError::TooMany { count, max: kind.max });
            }
            if u64::from(kind.cost.0) * u64::from(count) > u64::from(settings.max_memory.0) {
                let (each_mib, max_mib) = (kind.cost.0, settings.max_memory.0);
                return Err(PoolError::TooMuchMemory { count, each_mib, max_mib });
            }
            kind.wanted = kind.wanted.max(count);
            kind.problem = None;
            kind.rest_until = None;
            Ok(())
        })?;
        loop {
            let changed = self.inner.changed.notified();
            {
                let state = self.state();
                let kind = state.kinds.get(&key).ok_or(PoolError::Drained)?;
                if kind.ready_count() >= count {
                    return Ok(kind.ready_count());
                }
                if let (Some(why), 0) = (&kind.problem, kind.starting) {
                    return Err(PoolError::Start { why: why.clone() });
                }
                if kind.starting == 0 && kind.ready_count() >= kind.wanted {
                    return Ok(kind.ready_count());
                }
            }
            changed.await;
        }
    }

    fn want(
        &self,
        spec: &SandboxSpec,
        change: impl FnOnce(&mut Kind) -> Result<(), PoolError>,
    ) -> Result<PoolKey, PoolError> {
        let settings = &self.inner.settings;
        if !settings.enabled {
            return Err(PoolError::Disabled);
        }
        let key = PoolKey::of(spec).ok_or(PoolError::Unpoolable {
            what: unpoolable(spec).unwrap_or("what can't be written down"),
        })?;
        let unknown = || PoolError::UnknownBackend { name: spec.backend.to_string() };
        let lane = self.lane_of(&spec.backend).ok_or_else(unknown)?;
        let mut state = self.state();
        let mut gone = Vec::new();
        let full = PoolError::TooManyKinds { max: settings.max_templates };
        let kind = state.learn(&key, &lane, spec, settings, &mut gone).ok_or(full);
        let changed = kind.and_then(change);
        self.settle(&mut state, &key, gone);
        changed.map(|()| key)
    }

    /// What there is.
    pub fn status(&self) -> PoolStatus {
        let (settings, state) = (&self.inner.settings, self.state());
        let mut kinds: Vec<_> = state.kinds.iter().collect();
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.used));
        PoolStatus {
            enabled: settings.enabled,
            kinds: kinds.into_iter().map(|(key, kind)| kind.status(key)).collect(),
            memory: Mib(u32::try_from(state.memory_mib()).unwrap_or(u32::MAX)),
            max_memory: settings.max_memory,
        }
    }

    /// Ends all boxes that wait and forgets all kinds but those that are kept for good, which are made again when they are
    /// next asked for. Returns how many there were, once they are gone.
    pub async fn drain(&self) -> u32 {
        let count = {
            let mut state = self.state();
            let mut gone: Vec<Made> = Vec::new();
            for kind in state.kinds.values_mut() {
                kind.wanted = 0;
                gone.extend(kind.ready.drain(..).map(crate::kind::Waiting::free));
            }
            state.kinds.retain(|_, kind| kind.pinned || kind.taker_count() > 0);
            let count = u32::try_from(gone.len()).unwrap_or(u32::MAX);
            gone.into_iter().for_each(|made| self.inner.burials.add(made));
            count
        };
        self.inner.changed.notify_waiters();
        // Those that are nearly made for nobody end as soon as they are.
        self.inner.starts.over().await;
        self.inner.burials.over().await;
        count
    }

    /// The same, for good: nothing is made ahead any more. Waits until every box that was given back is gone.
    pub async fn close(&self) -> u32 {
        self.state().closed = true;
        self.drain().await
    }
}

/// Waits for the next box of `kind`.
fn queue(kind: &mut Kind) -> oneshot::Receiver<Result<PooledBox, BackendError>> {
    let (taker, coming) = oneshot::channel();
    kind.takers.push_back(taker);
    coming
}
