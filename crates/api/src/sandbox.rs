//! Sandboxes that stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::command::yes;
use crate::{Environment, InitialFile, Isolation};

/// A folder of the host inside a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// On the server's machine; absolute, and there.
    pub source: String,
    /// Inside; absolute.
    pub target: String,
    /// Whether it can only be read.
    #[serde(default)]
    pub read_only: bool,
}

/// A sandbox to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// Its name: letters, digits, `-` and `_`, at most 63, a letter or digit at both ends. Made up where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is started at once.
    #[serde(default = "yes")]
    pub start: bool,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<bool>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// See `RunRequest`.
    #[serde(default, alias = "cpus", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub vcpus: Option<serde_json::Number>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_mb: Option<u32>,
    /// See `RunRequest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// See `RunRequest`.
    #[serde(default)]
    pub allow_unlimited: bool,
    /// What every command starts with.
    #[serde(default)]
    pub env: Environment,
    /// Where commands start unless they say otherwise.
    #[serde(default, alias = "cwd", skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Who runs commands unless they say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Folders of the host (needs scope admin).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountRequest>,
    /// Ports on the server's machine, as with `-P`: `8080:80`, `127.0.0.1:8080:80`, `80`. Others than loopback need scope
    /// admin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Files that it starts with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InitialFile>,
    /// The caller's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// How long commands get between SIGTERM and SIGKILL; 10,000 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

/// A port of a sandbox on the server's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PortInfo {
    /// Where the server's machine listens.
    pub address: String,
    /// The port there.
    pub host: u16,
    /// The port inside.
    pub inside: u16,
}

/// A sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    /// Its name.
    pub name: String,
    /// Its id, never used again.
    pub id: String,
    /// `creating`, `stopped`, `starting`, `running`, `pausing`, `paused`, `stopping` or `removing`.
    pub status: String,
    /// Who makes it.
    pub backend: String,
    /// What it started from.
    pub image: String,
    /// The image's content; absent for image `host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// Where its grants came from.
    pub profile: String,
    /// Processors; absent where they are not limited. A whole number where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub vcpus: Option<serde_json::Number>,
    /// Memory in MiB; absent where it is not limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// What it got, where it runs or ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Where its published ports listen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortInfo>,
    /// The caller's own marks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Why its status could not be seen on the machine and is the recorded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
