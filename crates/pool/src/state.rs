//! All kinds of a pool, and what is decided over them together: which are kept, and how many of each are made ahead.

use std::collections::HashMap;
use std::sync::Arc;

use agentkernel_model::SandboxSpec;
use tokio::time::Instant;

use crate::key::common;
use crate::kind::{Kind, Made, Waiting};
use crate::lane::Lane;
use crate::{PoolKey, PoolSettings};

#[derive(Default)]
pub(crate) struct State {
    pub(crate) kinds: HashMap<PoolKey, Kind>,
    /// Counts up with each use.
    uses: u64,
    /// Counts up with each box.
    boxes: u64,
    /// Nothing is made ahead any more.
    pub(crate) closed: bool,
}

impl State {
    /// A number for a box that waits.
    pub(crate) fn number(&mut self) -> u64 {
        self.boxes += 1;
        self.boxes
    }

    /// The kind `key`, known from now on; `None` where no more may be known. Whatever goes for it is added to `gone`.
    pub(crate) fn learn(
        &mut self,
        key: &PoolKey,
        lane: &Arc<Lane>,
        spec: &SandboxSpec,
        settings: &PoolSettings,
        gone: &mut Vec<Made>,
    ) -> Option<&mut Kind> {
        self.uses += 1;
        if !self.kinds.contains_key(key) {
            if self.closed || settings.max_templates == 0 {
                return None;
            }
            while self.kinds.len() >= settings.max_templates as usize {
                gone.extend(self.forget_one()?);
            }
            let min = settings.default_min.min(settings.max_per_template);
            let kind = Kind::new(Arc::clone(lane), common(spec), min, settings.max_per_template);
            self.kinds.insert(key.clone(), kind);
        }
        let kind = self.kinds.get_mut(key)?;
        (kind.used, kind.used_at) = (self.uses, Instant::now());
        Some(kind)
    }

    /// Forgets the kind that was not used for longest and that nobody needs; its boxes.
    fn forget_one(&mut self) -> Option<Vec<Made>> {
        let free = self.kinds.iter_mut().filter_map(|(key, kind)| {
            let idle = !kind.pinned && kind.taker_count() == 0;
            idle.then(|| (kind.used, key.clone()))
        });
        let (_, key) = free.min_by_key(|(used, _)| *used)?;
        self.forget(&key)
    }

    /// Forgets the kind `key`; its boxes. Those that are being made for it go when they are.
    pub(crate) fn forget(&mut self, key: &PoolKey) -> Option<Vec<Made>> {
        let kind = self.kinds.remove(key)?;
        Some(kind.ready.into_iter().map(Waiting::free).collect())
    }

    /// The memory of all that wait or will, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.kinds.values().map(|kind| u64::from(kind.ahead()) * u64::from(kind.cost.0)).sum()
    }

    /// How many more of `key` are to be made now; they count as being made from here on. Boxes that have to make room are
    /// added to `gone`.
    pub(crate) fn plan(&mut self, key: &PoolKey, settings: &PoolSettings, gone: &mut Vec<Made>) -> u32 {
        let closed = self.closed;
        let Some(kind) = self.kinds.get_mut(key) else { return 0 };
        let for_takers = kind.taker_count().saturating_sub(kind.starting);
        kind.starting += for_takers;
        let (cost, used) = (u64::from(kind.cost.0), kind.used);
        let missing = match closed || kind.rests() {
            true => 0,
            false => kind.wanted.min(kind.max).saturating_sub(kind.ahead()),
        };
        let mut ahead = 0;
        while ahead < missing {
            let after = self.memory_mib() + (u64::from(ahead) + 1) * cost;
            if after <= u64::from(settings.max_memory.0) {
                ahead += 1;
            } else if let Some(made) = self.evict_before(used) {
                gone.push(made);
            } else {
                break;
            }
        }
        if let Some(kind) = self.kinds.get_mut(key) {
            kind.starting += ahead;
        }
        for_takers + ahead
    }

    /// A waiting box of the kind that was not used for longest, before the use `used`.
    fn evict_before(&mut self, used: u64) -> Option<Made> {
        let lesser =
            self.kinds.values_mut().filter(|kind| !kind.pinned && kind.used < used && !kind.ready.is_empty());
        let kind = lesser.min_by_key(|kind| kind.used)?;
        // Not to be made again at once.
        kind.wanted = kind.ready_count() - 1;
        kind.ready.pop_front().map(Waiting::free)
    }
}
