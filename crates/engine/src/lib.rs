//! The use-cases: verbs into steps over a backend and the store. Prints nothing and names no backend.

mod agents;
mod building;
mod copy;
mod creation;
mod engine;
mod error;
mod exec;
pub mod extract;
mod files;
mod fork;
mod forward;
pub mod forwarder;
mod home;
mod in_use;
mod lifecycle;
mod listen;
mod pack;
mod pausing;
mod plan;
mod recovery;
mod run;
mod runtime;
mod select;
mod snapshots;
mod toolchains;
mod view;

pub use agents::{AGENTS, Agent};
pub use building::ImageImporter;
pub use copy::{CopyEnd, CopyError, CopyReport, PathEnding};
pub use engine::Engine;
pub use error::{EngineError, ErrorKind};
pub use exec::ExecPlan;
pub use files::FileBytes;
pub use fork::MAX_FORKS;
pub use plan::{ImageChoice, PlanError, PlanRequest, PlannedSandbox, RunCommand, preview_sandbox};
pub use recovery::Recovered;
pub use run::{Run, RunEnding, RunPlan};
pub use runtime::{Detected, Order, detect, image_of};
pub use select::BackendReport;
pub use snapshots::SnapshotView;
pub use toolchains::{Toolchains, find_toolchains};
pub use view::SandboxView;

#[cfg(test)]
mod tests;
