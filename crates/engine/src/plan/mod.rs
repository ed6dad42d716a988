//! From settings to a specification: the last place where anything is decided.

mod environment;
mod error;
mod image;
mod mounts;
mod sandbox;

#[cfg(test)]
pub(crate) use environment::PATH;
pub(crate) use environment::{SANDBOX_VARIABLE, UNNAMED_HOST, UNNAMED_SANDBOX};
pub use error::PlanError;
pub use sandbox::{PlannedSandbox, plan_sandbox};
