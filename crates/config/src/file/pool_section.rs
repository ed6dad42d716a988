//! The section of `agentkernel.toml` for the warm pool. Its doc comments are the text of the schema and of the reference
//! page.

use agentkernel_model::{BackendName, ImageRef};
use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{ProfileValue, SizeValue};

/// Sandboxes that the server and the daemon start before they are asked for. Each is used by one command.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PoolSection {
    /// Whether there are any; by default true.
    pub(crate) enabled: Option<bool>,
    /// How many of a kind are kept ready once it was asked for; by default 2.
    pub(crate) min: Option<u32>,
    /// The most of a kind, however often it is asked for; by default 16.
    pub(crate) max: Option<u32>,
    /// The most kinds; the one that was not used for longest goes first. By default 8.
    pub(crate) max_templates: Option<u32>,
    /// The most that the memory limits of all that wait may come to, in MiB or with a unit; a sandbox without a limit counts
    /// as a sixteenth of the machine's memory. By default half of that.
    pub(crate) max_memory: Option<SizeValue>,
    /// How long one may wait, in seconds; by default 600.
    pub(crate) max_age_seconds: Option<u32>,
    /// How many are made at a time; by default as many as there are processors, at least 2.
    pub(crate) parallel: Option<u32>,
    /// Kinds that are ready from the server's start on, `[[pool.template]]`.
    pub(crate) template: Vec<PoolTemplateSection>,
}

/// A kind of sandboxes that is ready from the server's start on. What is left out is decided as for `run`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(crate) struct PoolTemplateSection {
    /// The backend.
    pub(crate) backend: Option<BackendName>,
    /// The image.
    pub(crate) image: Option<ImageRef>,
    /// The profile.
    pub(crate) profile: Option<ProfileValue>,
    /// How many are kept ready; by default `pool.min`.
    pub(crate) min: Option<u32>,
    /// The most that are kept, however often they are asked for; by default `pool.max`.
    pub(crate) max: Option<u32>,
}
