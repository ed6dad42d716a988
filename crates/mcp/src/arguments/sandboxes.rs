//! Sandboxes that stay.

use agentkernel_api::Environment;
use agentkernel_model::{BoxPath, SandboxName};
use serde::Deserialize;
use utoipa::ToSchema;

/// Of `sandbox_create`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateArguments {
    /// The new sandbox's name: at most 63 letters, digits, - and _; the first and the last a letter or digit.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// Container image, such as python:3.12-alpine. Default: the server's.
    pub(crate) image: Option<String>,
    /// Whether it is started at once. Default true.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub(crate) start: bool,
    /// Who makes it: native, docker or podman. By default the best that is ready.
    pub(crate) backend: Option<String>,
    /// Security profile: restrictive, moderate, or permissive (which needs a server that was started for it).
    pub(crate) profile: Option<String>,
    /// Whether it has a network. By default the profile decides.
    pub(crate) network: Option<bool>,
    /// Memory limit in MiB.
    pub(crate) memory_mb: Option<u32>,
    /// Processors; may be a fraction.
    #[schema(value_type = Option<f64>)]
    pub(crate) vcpus: Option<serde_json::Number>,
    /// Environment variables that every command starts with, by name.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) env: Environment,
    /// Where commands start; absolute, inside.
    #[schema(value_type = Option<String>)]
    pub(crate) cwd: Option<BoxPath>,
    /// Ports to publish on the host's loopback: 8080:80, or 80 for any free port.
    #[serde(default)]
    pub(crate) ports: Vec<String>,
}

/// Of `sandbox_list` and `snapshot_list`: none.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArguments {}

/// Of `sandbox_start`, `sandbox_remove`, `sandbox_pause` and `sandbox_resume`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
}

/// Of `sandbox_stop`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StopArguments {
    /// The sandbox.
    #[schema(value_type = String)]
    pub(crate) name: SandboxName,
    /// How long its commands get to end before they are killed, in milliseconds. Default 10000.
    pub(crate) grace_ms: Option<u64>,
}

fn yes() -> bool {
    true
}
