//! The warm pool.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Boxes of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolTemplate {
    /// Names the kind: the beginning of a digest over all that makes a box what it is.
    pub id: String,
    /// Who makes them.
    pub backend: String,
    /// What they start from.
    pub image: String,
    /// Their profile.
    pub profile: String,
    /// How many wait.
    pub ready: u32,
    /// How many are being made.
    pub starting: u32,
    /// Kept at least.
    pub min: u32,
    /// Kept at most.
    pub max: u32,
    /// Requests that got one.
    pub hits: u64,
    /// Requests that found none.
    pub misses: u64,
    /// Why the last one could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// Whether there is a pool.
    pub enabled: bool,
    /// Most lately used first.
    pub templates: Vec<PoolTemplate>,
    /// The memory limits of all boxes that wait, together, in MiB.
    pub memory_mb: u64,
    /// The most that may be.
    pub max_memory_mb: u64,
}

/// Boxes to make ready: what a `run` would be asked with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmRequest {
    /// The backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether there is a network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// How many.
    #[schema(minimum = 1, maximum = 1000)]
    pub count: u32,
}

/// What was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainReport {
    /// Boxes that waited.
    pub drained: u32,
}
