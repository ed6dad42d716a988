//! `/balloon`: memory that goes back to the host.

use serde::{Deserialize, Serialize};

use super::Version;

/// The first that takes memory back as a guest frees it (Firecracker's changelog). It does in restored machines as well,
/// and what a guest takes again is zeroes each time (Firecracker's docs/ballooning.md).
pub const FIRST_WITH_REPORTING: Version = Version { major: 1, minor: 14, patch: 0 };

/// The balloon device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Balloon {
    /// How much it takes from the guest to begin with.
    pub amount_mib: u32,
    /// Whether the guest may take memory back before it kills for want of it.
    pub deflate_on_oom: bool,
    /// Seconds between two looks at the guest's memory; 0 is never, and can't be changed later.
    pub stats_polling_interval_s: u16,
    /// Whether the guest tells the host which pages it has freed, by itself. From [`FIRST_WITH_REPORTING`] on.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_any_kernel_are_read() {
        let old = r#"{"target_pages":0,"actual_pages":0,"target_mib":7,"actual_mib":5,"swap_in":1}"#;
        let statistics: BalloonStatistics = serde_json::from_str(old).unwrap();
        assert_eq!((statistics.actual_mib, statistics.free_memory), (5, None));
        assert!(serde_json::from_str::<BalloonStatistics>(r#"{"target_mib":-1,"actual_mib":5}"#).is_err());
    }
}
