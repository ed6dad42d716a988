//! The engine itself: a store, the backends of this build, and the small steps that all verbs share.

use std::sync::Arc;

use agentkernel_backend::{Backend, BoxRecord, Registry};
use agentkernel_model::{BackendName, SandboxName};
use agentkernel_store::{LockedRecord, SandboxRecord, Store};

use crate::EngineError;
use crate::building::ImageImporter;
use crate::forwarder::ForwarderSpawner;

/// The use-cases of agentkernel. Cheap to clone; holds no sandbox in memory: the store and the machine are the truth.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) backends: Registry,
    pub(crate) forwarders: Option<Arc<dyn ForwarderSpawner>>,
    pub(crate) importer: Option<Arc<dyn ImageImporter>>,
    pub(crate) max_snapshot_bytes: Option<u64>,
}

impl Engine {
    /// An engine that can't keep published ports of sandboxes open after this process: starting one that has some is
    /// refused. See [`Self::with_forwarders`].
    pub fn open(store: Store, backends: Registry) -> Self {
        let inner = Inner { store, backends, forwarders: None, importer: None, max_snapshot_bytes: None };
        Self { inner: Arc::new(inner) }
    }

    /// The same, with the most that all snapshots together may take on disk.
    pub fn with_snapshot_limit(self, max_bytes: Option<u64>) -> Self {
        let inner = &*self.inner;
        Self { inner: Arc::new(Inner { max_snapshot_bytes: max_bytes, ..inner.clone() }) }
    }

    /// The same, with the way to start the process that keeps a sandbox's published ports open.
    pub fn with_forwarders(self, spawner: Arc<dyn ForwarderSpawner>) -> Self {
        let inner = &*self.inner;
        Self { inner: Arc::new(Inner { forwarders: Some(spawner), ..inner.clone() }) }
    }

    /// The same, with the way to take built images in for backends that have no engine of their own.
    pub fn with_importer(self, importer: Arc<dyn ImageImporter>) -> Self {
        let inner = &*self.inner;
        Self { inner: Arc::new(Inner { importer: Some(importer), ..inner.clone() }) }
    }

    /// The records.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The backend that a specification or record names, ready or not.
    pub(crate) fn backend(&self, name: &BackendName) -> Result<Arc<dyn Backend>, EngineError> {
        self.inner.backends.get(name).cloned().ok_or_else(|| EngineError::UnknownBackend {
            name: name.to_string(),
            known: self.known_backends(),
        })
    }

    pub(crate) fn known_backends(&self) -> String {
        let names: Vec<&str> =
            self.inner.backends.iter().map(|(backend, _)| backend.name().as_str()).collect();
        names.join(", ")
    }

    pub(crate) fn box_record(&self, record: &SandboxRecord) -> BoxRecord {
        BoxRecord {
            name: record.name.clone(),
            id: record.id.clone(),
            spec: record.spec.clone(),
            dir: self.inner.store.backend_dir(&record.name),
        }
    }

    /// Locks a record without blocking the runtime while another process has it.
    pub(crate) async fn lock(&self, name: &SandboxName) -> Result<LockedRecord, EngineError> {
        if let Some(locked) = self.inner.store.try_lock(name)? {
            return Ok(locked);
        }
        let (store, name) = (self.inner.store.clone(), name.clone());
        blocking(move || store.lock(&name)).await?.map_err(EngineError::from)
    }
}

/// Runs blocking work on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EngineError> {
    tokio::task::spawn_blocking(work).await.map_err(|source| EngineError::Worker { source })
}
