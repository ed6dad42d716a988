//! `/balloon`: memory that goes back to the host.

use serde::{Deserialize, Serialize};

/// The balloon device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balloon {
    /// How much it takes from the guest to begin with.
    pub amount_mib: u32,
    /// Whether the guest may take memory back before it kills for want of it.
    pub deflate_on_oom: bool,
    /// Seconds between two looks at the guest's memory; 0 is never, and can't be changed later.
    pub stats_polling_interval_s: u16,
    /// Whether the guest tells the host which pages it has freed, by itself. Firecracker 1.14 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_page_reporting: Option<bool>,
}

/// Another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BalloonUpdate {
    /// In MiB.
    pub amount_mib: u32,
}

/// What the guest says of its memory: hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct BalloonStatistics {
    /// What it should hold.
    pub target_mib: u32,
    /// What it holds.
    pub actual_mib: u32,
    /// Bytes that the guest could use without swapping.
    #[serde(default)]
    pub available_memory: Option<u64>,
    /// Bytes that the guest uses for nothing.
    #[serde(default)]
    pub free_memory: Option<u64>,
    /// Bytes in all.
    #[serde(default)]
    pub total_memory: Option<u64>,
}
