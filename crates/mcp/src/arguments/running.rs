//! Commands that were started and left to run.

use agentkernel_model::SandboxName;
use serde::Deserialize;
use utoipa::ToSchema;

/// Of `sandbox_exec_logs`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecLogsArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// The command's id, from sandbox_exec_detach.
    pub(crate) id: String,
    /// The first byte to return, counted over stdout and stderr together. Default 0; next_offset in an answer says where
    /// to go on.
    #[serde(default)]
    #[schema(default = 0)]
    pub(crate) offset: u64,
    /// The most bytes to return, up to 1048576. Default 100000.
    #[serde(default = "default_limit")]
    #[schema(minimum = 1, default = 100000)]
    pub(crate) limit: u64,
    /// Where there is nothing new, wait up to this many milliseconds for output or for the command's end; at most 60000.
    /// Default 0.
    #[serde(default)]
    #[schema(default = 0)]
    pub(crate) wait_ms: u64,
}

/// Of `sandbox_exec_kill`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecKillArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// The command's id.
    pub(crate) id: String,
    /// SIGTERM, TERM or 15. Default SIGKILL, which goes to the whole process tree.
    pub(crate) signal: Option<String>,
}

/// Of `sandbox_exec_list`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExecListArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
}

fn default_limit() -> u64 {
    100_000
}
