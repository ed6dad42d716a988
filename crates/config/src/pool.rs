//! The settings of the warm pool.

use std::time::Duration;

use agentkernel_model::{BackendName, ImageRef, Mib, Profile};

use crate::file::FileValues;
use crate::ledger::Ledger;
use crate::load::Sources;

/// What the file says of the pool; `None` is the pool's own choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolChoice {
    /// Whether there is one.
    pub enabled: Option<bool>,
    /// Kept ready of each kind.
    pub min: Option<u32>,
    /// The most of each kind.
    pub max: Option<u32>,
    /// The most kinds.
    pub max_templates: Option<u32>,
    /// The most memory.
    pub max_memory: Option<Mib>,
    /// How long one may wait.
    pub max_age: Option<Duration>,
    /// How many are made at a time.
    pub parallel: Option<u32>,
    /// Kinds that are kept from the start on.
    pub templates: Vec<PoolTemplate>,
}

/// A kind that is kept from the start on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolTemplate {
    /// The backend.
    pub backend: Option<BackendName>,
    /// The image.
    pub image: Option<ImageRef>,
    /// The profile.
    pub profile: Option<Profile>,
    /// Kept ready.
    pub min: Option<u32>,
    /// The most.
    pub max: Option<u32>,
}

/// Only a file speaks of it.
pub(crate) fn decide(sources: &Sources<'_>, ledger: &mut Ledger) -> PoolChoice {
    let absent = FileValues::default();
    let section = &sources.file.map_or(&absent, |file| &file.config.values).pool;
    // What nobody changed is in the page of the daemon, not among the effective values: there are many.
    let mut note = |key: &'static str, shown: Option<String>| {
        if let (Some(shown), Some(file)) = (shown, sources.file) {
            ledger.note(key, shown, file.origin(key));
        }
    };
    note("pool.enabled", section.enabled.map(|enabled| enabled.to_string()));
    note("pool.min", section.min.map(|number| number.to_string()));
    note("pool.max", section.max.map(|number| number.to_string()));
    note("pool.max_templates", section.max_templates.map(|number| number.to_string()));
    note("pool.max_memory", section.max_memory.map(|size| size.0.to_string()));
    note("pool.max_age_seconds", section.max_age_seconds.map(|number| number.to_string()));
    note("pool.parallel", section.parallel.map(|number| number.to_string()));
    let count = section.template.len();
    note("pool.template", (count > 0).then(|| format!("{count} kinds")));
    let template = |template: &crate::file::PoolTemplateSection| PoolTemplate {
        backend: template.backend.clone(),
        image: template.image.clone(),
        profile: template.profile.map(|profile| profile.0),
        min: template.min,
        max: template.max,
    };
    PoolChoice {
        enabled: section.enabled,
        min: section.min,
        max: section.max,
        max_templates: section.max_templates,
        max_memory: section.max_memory.map(|size| size.0),
        max_age: section.max_age_seconds.map(|seconds| Duration::from_secs(seconds.into())),
        parallel: section.parallel,
        templates: section.template.iter().map(template).collect(),
    }
}
