//! What was written down.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One entry of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// Its number in the log.
    #[serde(rename = "seq")]
    pub sequence: u64,
    /// RFC 3339, UTC.
    pub timestamp: String,
    /// The process that wrote it.
    pub pid: u32,
    /// The key's name; `local` without a key.
    pub user: String,
    /// Where the caller came from.
    pub from: String,
    /// `sandbox_created`, `sandbox_started`, `sandbox_stopped`, `sandbox_removed`, `sandbox_paused`, `sandbox_resumed`,
    /// `sandbox_forked`, `snapshot_taken`, `snapshot_restored`, `snapshot_removed`, `command_executed`, `command_ended`,
    /// `file_written`, `file_read`, `session_attached`, `policy_violation`, or the `action`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// What was asked for: `run`, `exec`, `create`, `write_file`, ...
    #[serde(default)]
    pub action: String,
    /// The sandbox, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The command's id in its sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// The command, with what looks like a secret left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The file, inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many bytes were moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How a command ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
