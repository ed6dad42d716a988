//! Several commands at once, each in a sandbox of its own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{RunRequest, RunResult};

/// One command of a batch: all that `/run` takes.
pub type BatchCommand = RunRequest;

/// Commands that run at the same time, as far as the server's limits let them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// The commands; 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    pub commands: Vec<RunRequest>,
}

/// One command's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// What it wrote: stdout and stderr as they came. `null` where it could not be run.
    pub output: Option<String>,
    /// Why it could not be run; `null` where it ran, whatever its exit code.
    pub error: Option<String>,
    /// The code that goes with `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<crate::ErrorCode>,
    /// All that `/run` answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<RunResult>,
}

/// In the order of the commands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResults {
    /// One each.
    pub results: Vec<BatchResult>,
}
