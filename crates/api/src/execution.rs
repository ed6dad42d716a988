//! Commands that outlive the request that started them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A command that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StartedExecution {
    /// Its id in its sandbox.
    pub id: String,
    /// Its sandbox.
    pub sandbox: String,
}

/// Whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionStatus {
    /// It runs.
    Running,
    /// It has ended.
    Ended,
}

/// One command of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionInfo {
    /// Its id.
    pub id: String,
    /// Its program and arguments; what is not UTF-8 is replaced by U+FFFD.
    pub command: Vec<String>,
    /// Its process id inside.
    pub pid: u32,
    /// Whether it has a log and outlives its client.
    pub detached: bool,
    /// Whether it runs.
    pub status: ExecutionStatus,
    /// As in `RunResult`; once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal that it died of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Since its start.
    pub age_ms: u64,
}

/// A signal to send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KillRequest {
    /// `SIGTERM`, `TERM` or `15`; `SIGKILL` by default, which goes to the whole process tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}
