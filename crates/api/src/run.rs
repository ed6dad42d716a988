//! How a command ended.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Encoding;

/// The isolation that a sandbox really got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Isolation {
    /// Who made it.
    pub backend: String,
    /// `shared-kernel`, `emulated-machine`, `virtual-machine` or `hosted`; `none` where nothing was run.
    pub boundary: String,
    /// Whether it was made without root on the host.
    pub rootless: bool,
    /// The layers in force.
    pub layers: Vec<String>,
    /// What was asked for and is not enforced, because the caller allowed that.
    pub not_enforced: Vec<String>,
}

/// Why a command could not be started, beside the exit code (126 or 127) that a shell would show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunError {
    /// `not_found`, `not_executable`, `workdir`, `user` or `no_room`.
    pub kind: String,
    /// For people.
    pub message: String,
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RunResult {
    /// stdout and stderr together, in the order in which they came; text, whatever `encoding` says of the others.
    pub output: String,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How `stdout` and `stderr` are written.
    pub encoding: Encoding,
    /// Its own; 124 its time ran out; 126 it can't be executed; 127 it was not found; 128+n it died of signal n.
    pub exit_code: u8,
    /// The signal that it died of, such as `SIGKILL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Whether its time ran out.
    pub timed_out: bool,
    /// Whether there was more stdout than was kept.
    pub stdout_truncated: bool,
    /// Whether there was more stderr than was kept.
    pub stderr_truncated: bool,
    /// From the request's arrival to the command's end.
    pub duration_ms: u64,
    /// Whose sandbox it was.
    pub backend: String,
    /// What it really got.
    pub isolation: Isolation,
    /// The image.
    pub image: String,
    /// Whether the sandbox had been started before it was asked for.
    pub warm: bool,
    /// The sandbox's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Why the command could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
}
