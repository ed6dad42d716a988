//! `/actions`.

use serde::Serialize;

/// What is done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "action_type")]
pub enum Action {
    /// The machine boots.
    InstanceStart,
    /// The figures are written now.
    FlushMetrics,
    /// The keys that ask the guest to reboot. x86_64 only.
    SendCtrlAltDel,
}
