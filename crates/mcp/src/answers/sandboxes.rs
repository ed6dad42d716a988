//! Sandboxes that stay.

use std::fmt::Write as _;

use agentkernel_api::Sandbox;
use serde::Serialize;
use utoipa::ToSchema;

use super::command::isolation_line;

/// Of `sandbox_list`.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct SandboxList {
    /// All sandboxes, by name.
    pub(crate) sandboxes: Vec<Sandbox>,
}

impl SandboxList {
    /// A line each.
    pub(crate) fn text(&self) -> String {
        if self.sandboxes.is_empty() {
            return "There are no sandboxes.".to_owned();
        }
        self.sandboxes.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// One sandbox in one line.
pub(crate) fn line(sandbox: &Sandbox) -> String {
    let Sandbox { name, status, backend, image, .. } = sandbox;
    let mut text = format!("{name}: {status} ({backend}, {image})");
    if let Some(isolation) = &sandbox.isolation {
        write!(text, "; isolation: {}", isolation_line(isolation)).ok();
    }
    for port in &sandbox.ports {
        write!(text, "; port {} at {}:{}", port.inside, port.address, port.host).ok();
    }
    if let Some(problem) = &sandbox.problem {
        write!(text, "; {problem}").ok();
    }
    text
}

/// What is left to say of something that was done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Done {
    /// The sandbox, or snapshot.
    pub(crate) name: String,
    /// What was done.
    pub(crate) message: String,
}
