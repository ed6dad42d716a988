//! The backends of this build, in the order of automatic choice.

use std::sync::Arc;

use agentkernel_model::BackendName;

use crate::Backend;

/// Backends in order of preference: the first that is ready and may be chosen automatically wins.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<(Arc<dyn Backend>, bool)>,
}

impl Registry {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next in order. `automatic`: whether it may be chosen without being named.
    pub fn add(&mut self, backend: Arc<dyn Backend>, automatic: bool) {
        self.entries.push((backend, automatic));
    }

    /// The same backends in the same order, each as `wrap` returns it.
    pub fn wrapped(self, wrap: impl Fn(Arc<dyn Backend>) -> Arc<dyn Backend>) -> Self {
        let entries =
            self.entries.into_iter().map(|(backend, automatic)| (wrap(backend), automatic)).collect();
        Self { entries }
    }

    /// All, in order, each with whether it may be chosen automatically.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<dyn Backend>, bool)> {
        self.entries.iter().map(|(backend, automatic)| (backend, *automatic))
    }

    /// By name.
    pub fn get(&self, name: &BackendName) -> Option<&Arc<dyn Backend>> {
        self.entries.iter().map(|(backend, _)| backend).find(|backend| backend.name() == name)
    }
}
