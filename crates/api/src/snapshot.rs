//! Snapshots of running sandboxes, and copies.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::PortInfo;

/// A running sandbox, kept as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// The sandbox that it was taken of.
    pub source: String,
    /// That sandbox's id: its name may be another's by now.
    pub source_id: String,
    /// Who made that sandbox, and can restore the snapshot.
    pub backend: String,
    /// What that sandbox started from.
    pub image: String,
    /// The ports that it publishes: no copy takes them over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortInfo>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// What it takes on disk.
    pub bytes: u64,
}

/// Which sandbox to keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// The sandbox: it must be running or paused, and goes on as before.
    pub sandbox: String,
    /// The snapshot's name; the sandbox's with a number behind it where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What to make of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The new sandbox's name; the snapshot's where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
}

/// How to copy a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkRequest {
    /// How many children; one where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub count: Option<u32>,
    /// The name of one child, the beginning of the names of several; the sandbox's, with numbers, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_name: Option<String>,
}
