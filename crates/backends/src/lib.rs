//! The only place that names every backend: cargo features to registry.

mod order;
mod registry;
mod steps;

pub use order::{AUTOMATIC_ORDER, Candidate};
pub use registry::{NotInThisBuild, check, registry};
pub use steps::step_costs;
