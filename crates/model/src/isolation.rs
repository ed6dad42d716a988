//! What keeps a box apart from the host: stated with every result.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::BackendName;

/// The kind of wall, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Boundary {
    /// No wall: a test double.
    Fake,
    /// The host's kernel: namespaces, seccomp, Landlock, cgroups.
    SharedKernel,
    /// A kernel of its own in software emulation.
    EmulatedMachine,
    /// A kernel of its own behind hardware virtualisation.
    VirtualMachine,
    /// Somebody else's machine.
    Hosted,
}

/// The isolation that one box really got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// Who made the box.
    pub backend: BackendName,
    /// The kind of wall.
    pub boundary: Boundary,
    /// Whether it was made without root on the host.
    pub rootless: bool,
    /// The layers in force, in words of the kernel's documentation: `user namespace`, `seccomp`, `landlock 7`, ...
    pub layers: Vec<String>,
    /// What was asked for and not enforced, because the user allowed that by name (`--allow-unlimited`).
    pub not_enforced: Vec<String>,
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fake => "fake",
            Self::SharedKernel => "shared kernel",
            Self::EmulatedMachine => "emulated machine",
            Self::VirtualMachine => "virtual machine",
            Self::Hosted => "hosted",
        })
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rootless = if self.rootless { ", rootless" } else { "" };
        write!(f, "{} ({}{rootless}): {}", self.backend, self.boundary, self.layers.join(", "))?;
        if !self.not_enforced.is_empty() {
            write!(f, "; not enforced: {}", self.not_enforced.join(", "))?;
        }
        Ok(())
    }
}
