//! Boxes without a record: noted by a lease, ended with their owner's stream.

use std::sync::Arc;

use agentkernel_backend::{BackendError, EphemeralBox, Guest};
use agentkernel_model::Isolation;
use async_trait::async_trait;

use crate::boot::Booted;
use crate::lease::Lease;

/// A box of this process.
pub(crate) struct NativeBox {
    guest: Arc<dyn Guest>,
    booted: Booted,
    /// `None` once it is released.
    lease: Option<Lease>,
    /// Keeps the image that it runs on.
    _image: Option<agentkernel_image::Lease>,
}

impl NativeBox {
    pub(crate) fn new(
        guest: Arc<dyn Guest>,
        booted: Booted,
        lease: Lease,
        image: Option<agentkernel_image::Lease>,
    ) -> Self {
        Self { guest, booted, lease: Some(lease), _image: image }
    }

    /// The kinds of the steps that made it, by index, where it was traced.
    pub(crate) fn kinds(&self) -> Vec<&'static str> {
        self.booted.kinds.clone()
    }
}

#[async_trait]
impl EphemeralBox for NativeBox {
    fn isolation(&self) -> &Isolation {
        &self.booted.isolation
    }

    fn guest(&self) -> Arc<dyn Guest> {
        Arc::clone(&self.guest)
    }

    async fn destroy(mut self: Box<Self>) -> Result<(), BackendError> {
        self.booted.end()?;
        match self.lease.take() {
            None => Ok(()),
            Some(lease) => {
                lease.release().map_err(|source| BackendError::runtime("release a box's lease", source))
            }
        }
    }
}

impl Drop for NativeBox {
    /// Processes end now; what else there is, recovery finds by the lease, which is free from here on.
    fn drop(&mut self) {
        if self.lease.is_some()
            && let Err(error) = self.booted.end()
        {
            tracing::warn!(%error, "a box that was dropped could not be ended; recovery will");
        }
    }
}
