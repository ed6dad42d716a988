//! From settings to a specification: the last place where anything is decided.

mod dockerfile;
mod environment;
mod error;
mod host_program;
mod image;
mod mounts;
mod request;
mod sandbox;

pub(crate) use dockerfile::build_request;
#[cfg(test)]
pub(crate) use environment::PATH;
pub(crate) use environment::{SANDBOX_VARIABLE, UNNAMED_HOST, UNNAMED_SANDBOX};
pub use error::PlanError;
pub use request::{ImageChoice, PlanRequest, PlannedSandbox, RunCommand};
pub use sandbox::preview_sandbox;
