//! How the store behaves.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use agentkernel_model::ImageId;

use crate::unpack::UnpackLimits;

/// Which images sandboxes were made from, running or not.
pub type InUse = Arc<dyn Fn() -> BTreeSet<ImageId> + Send + Sync>;

/// Settings of an [`crate::ImageStore`].
#[derive(Clone, Default)]
pub struct StoreSettings {
    /// Bytes that layers, blobs and block images may take together; `None` for no limit.
    pub max_bytes: Option<u64>,
    /// Asked before anything goes to make room: what it names stays. Running boxes hold leases beside.
    pub in_use: Option<InUse>,
    /// How much a layer may ask for.
    pub unpack: UnpackLimits,
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSettings").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}
