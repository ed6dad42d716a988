//! The only place that names every backend: cargo features to registry.

mod order;
mod registry;
mod steps;

pub use agentkernel_backend_docker::{EngineEnvironment, EngineSettings};
pub use agentkernel_backend_firecracker::{
    DeviceRates, FirecrackerSettings, ShareProgram, VmmChoice, provision, share_main,
};
pub use agentkernel_backend_native::{NativeSettings, image_store};
pub use order::{AUTOMATIC_ORDER, Candidate};
pub use registry::{BackendSettings, NotInThisBuild, check, registry, registry_with};
pub use steps::step_costs;
