//! `agentkernel.toml`: its keys as types. What the keys mean together is decided in [`crate::load`].

mod pool_section;
mod sections;
mod server_sections;
mod values;

pub(crate) use pool_section::PoolTemplateSection;
pub(crate) use sections::{
    BuildSection, EngineSection, FileValues, FirecrackerSection, ResourcesSection, SandboxSection,
    SecuritySection,
};
pub use server_sections::AuditArguments;
pub(crate) use server_sections::{ApiLimitsSection, ApiSection};
pub(crate) use values::{EnvValue, SizeValue};
