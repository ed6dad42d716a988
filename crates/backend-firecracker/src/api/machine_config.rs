//! `/machine-config`.

use serde::Serialize;

/// Processors and memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MachineConfig {
    /// 1 to 32.
    pub vcpu_count: u8,
    /// In MiB.
    pub mem_size_mib: u32,
    /// Whether processors show as threads of shared cores; an even number of them then.
    pub smt: bool,
    /// Whether later snapshots may hold only what changed.
    pub track_dirty_pages: bool,
    /// The pages that back the guest's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_pages: Option<HugePages>,
}

/// The host's pages behind the guest's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum HugePages {
    /// Ordinary ones.
    None,
    /// Huge ones reserved by the host; the memory is a multiple of 2 MiB then.
    #[serde(rename = "2M")]
    TwoMebibytes,
}
