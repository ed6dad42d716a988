//! One backend under the pool, and how many boxes it makes at a time.

use std::sync::Arc;

use agentkernel_backend::{Backend, BackendError, EphemeralBox};
use agentkernel_model::SandboxSpec;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long an agent may take to say hello once its box is made.
const GREETING: std::time::Duration = std::time::Duration::from_secs(30);

/// A backend that hangs holds up no other.
pub(crate) struct Lane {
    pub(crate) backend: Arc<dyn Backend>,
    /// One place for each box that is being made; whoever waits longest comes first.
    pub(crate) places: Arc<Semaphore>,
}

impl Lane {
    pub(crate) fn new(backend: Arc<dyn Backend>, parallel: u32) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(parallel.max(1) as usize));
        Arc::new(Self { backend, places })
    }

    /// Makes a box now. On a thread of its own: what a backend does between two waits may take milliseconds, in which a
    /// server answers others.
    pub(crate) async fn launch(&self, spec: SandboxSpec) -> Result<Box<dyn EphemeralBox>, BackendError> {
        let (backend, handle) = (Arc::clone(&self.backend), Handle::current());
        apart(move || handle.block_on(async move { backend.launch_cold(&spec).await })).await
    }

    /// The same in turn with others.
    pub(crate) async fn launch_in_turn(
        &self,
        spec: SandboxSpec,
    ) -> Result<Box<dyn EphemeralBox>, BackendError> {
        // Closed by nobody.
        let place = self.places.acquire().await;
        let made = self.launch(spec).await;
        drop(place);
        made
    }
}

/// Waits until the agent in `made` serves.
pub(crate) async fn greet(
    mut made: Box<dyn EphemeralBox>,
) -> Result<Box<dyn EphemeralBox>, (Box<dyn EphemeralBox>, BackendError)> {
    let silent = || BackendError::BoxEnded { why: "its agent said nothing for half a minute".to_owned() };
    match timeout(GREETING, made.ready()).await.unwrap_or_else(|_| Err(silent())) {
        Ok(()) => Ok(made),
        Err(error) => Err((made, error)),
    }
}

/// Runs blocking work apart from the event loop.
pub(crate) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|source| Err(BackendError::runtime("run a step on a thread of its own", source)))
}
