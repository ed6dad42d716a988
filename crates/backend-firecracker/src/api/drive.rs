//! `/drives/{drive_id}`.

use serde::Serialize;

use super::RateLimiter;

/// A disk backed by a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drive {
    /// Letters, digits and underscores.
    pub drive_id: String,
    /// The file, relative to Firecracker's working directory.
    pub path_on_host: String,
    /// Whether the kernel is told to boot from it; ours boots from its initial memory file system.
    pub is_root_device: bool,
    /// Whether the guest can't write it.
    pub is_read_only: bool,
    /// What a flush of the guest means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_type: Option<CacheType>,
    /// How the file is read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_engine: Option<IoEngine>,
    /// Its limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}

/// What a flush of the guest means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum CacheType {
    /// Nothing; a crash of the host may lose what the guest takes for written.
    Unsafe,
    /// The file is synchronised.
    Writeback,
}

/// How the file is read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum IoEngine {
    /// By blocking system calls.
    Sync,
    /// By io_uring.
    Async,
}

/// What can change in a running machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriveUpdate {
    /// Which.
    pub drive_id: String,
    /// Another file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_on_host: Option<String>,
    /// Other limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limiter: Option<RateLimiter>,
}
