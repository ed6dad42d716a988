//! What it costs to make a box, for the benchmark.

use std::path::Path;
use std::time::Duration;

use agentkernel_backend::BackendError;
use agentkernel_backend_native::{NativeBackend, NativeSettings};
use agentkernel_model::SandboxSpec;

/// See [`NativeBackend::step_costs`].
pub async fn step_costs(
    state_dir: &Path,
    settings: NativeSettings,
    spec: &SandboxSpec,
) -> Result<Vec<(&'static str, Duration)>, BackendError> {
    NativeBackend::open(state_dir, settings)?.step_costs(spec).await
}
