//! The server, its machine, backends and images.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer of `/health`: `"ok"`.
pub type Health = String;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// `agentkernel`.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The version of this contract: counts up with every field that is added.
    pub api: u32,
}

/// A backend of this build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackendInfo {
    /// Its name.
    pub name: String,
    /// Whether it can be used now.
    pub ready: bool,
    /// Whether it is the one that is taken where none is named.
    pub default: bool,
    /// Version and mode, or why it isn't ready.
    pub detail: String,
    /// What would make it ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// An image that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageInfo {
    /// Its content.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// In bytes, unpacked where it is.
    pub size: u64,
    /// RFC 3339, UTC; when it was taken in or made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Whose store it is in.
    pub backend: String,
}

/// An image to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// Its name.
    pub image: String,
    /// For whom; the default backend where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
}

/// What the server does and has done since its start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Since the server's start.
    pub uptime_ms: u64,
    /// The server's resident memory.
    pub resident_bytes: u64,
    /// Open descriptors of the server.
    pub open_files: u64,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were refused: key, scope, origin, limits.
    pub denied: u64,
    /// Commands that run now.
    pub running: u64,
    /// Requests that wait for room.
    pub queued: u64,
    /// Commands that have ended.
    pub commands: u64,
    /// Of them, how many got a sandbox that had been started earlier.
    pub warm: u64,
    /// Median time from request to the end of `run`, over the last 1,000.
    pub run_p50_ms: f64,
    /// 99th percentile of the same.
    pub run_p99_ms: f64,
    /// Sandboxes with a record.
    pub sandboxes: u64,
    /// Boxes that wait in the pool.
    pub pooled: u64,
}
