//! The decorator: one backend as before, whose one-shot boxes come out of the pool.

use std::sync::Arc;
use std::time::Duration;

use agentkernel_backend::{
    Backend, BackendError, BoxRecord, EphemeralBox, Guest, HandOver, ImageBuilder, Images, Probe, Reclaimed,
    Snapshots,
};
use agentkernel_model::{BackendName, Capabilities, Isolation, SandboxSpec};
use async_trait::async_trait;

use crate::Pool;
use crate::lane::Lane;

pub(crate) struct PooledBackend {
    pub(crate) pool: Pool,
    pub(crate) lane: Arc<Lane>,
}

impl PooledBackend {
    fn inner(&self) -> &dyn Backend {
        &*self.lane.backend
    }
}

#[async_trait]
impl Backend for PooledBackend {
    fn name(&self) -> &BackendName {
        self.inner().name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner().capabilities()
    }

    async fn probe(&self) -> Probe {
        self.inner().probe().await
    }

    fn images(&self) -> Option<&dyn Images> {
        self.inner().images()
    }

    fn builder(&self) -> Option<&dyn ImageBuilder> {
        self.inner().builder()
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        self.inner().snapshots()
    }

    async fn launch(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.pool.launch(&self.lane, spec).await
    }

    async fn launch_cold(&self, spec: &SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.pool.launch_apart(&self.lane, spec).await
    }

    async fn take_over(&self, handed: HandOver) -> Result<Box<dyn EphemeralBox>, BackendError> {
        self.inner().take_over(handed).await
    }

    fn variant(&self) -> String {
        self.inner().variant()
    }

    async fn create(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.inner().create(record).await
    }

    async fn start(&self, record: &BoxRecord) -> Result<Isolation, BackendError> {
        self.inner().start(record).await
    }

    async fn stop(&self, record: &BoxRecord, grace: Duration) -> Result<(), BackendError> {
        self.inner().stop(record, grace).await
    }

    async fn remove(&self, record: &BoxRecord) -> Result<(), BackendError> {
        self.inner().remove(record).await
    }

    async fn running(&self, record: &BoxRecord) -> Result<Option<Isolation>, BackendError> {
        self.inner().running(record).await
    }

    async fn connect(&self, record: &BoxRecord) -> Result<Arc<dyn Guest>, BackendError> {
        self.inner().connect(record).await
    }

    async fn reclaim(&self, records: &[BoxRecord]) -> Result<Reclaimed, BackendError> {
        self.inner().reclaim(records).await
    }
}
