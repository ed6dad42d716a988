//! `/vm`.

use serde::Serialize;

/// Whether the processors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state")]
pub enum VmState {
    /// They stand still.
    Paused,
    /// They run again.
    Resumed,
}
