//! `agentkernel.toml`: its keys as types. What the keys mean together is decided in [`crate::load`].

mod sections;
mod values;

pub(crate) use sections::{
    BuildSection, EngineSection, FileValues, ResourcesSection, SandboxSection, SecuritySection,
};
pub(crate) use values::EnvValue;
