//! `/`: what the process says of itself.

use serde::Deserialize;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// The name it was started under.
    pub id: String,
    /// What it is doing.
    pub state: InstanceState,
    /// Firecracker's version, unchecked.
    pub vmm_version: String,
}

/// What a machine is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum InstanceState {
    /// It is being made.
    #[serde(rename = "Not started")]
    NotStarted,
    /// It runs.
    Running,
    /// It stands still.
    Paused,
}
