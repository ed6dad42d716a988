//! What the user decides of the pool.

use std::time::Duration;

use agentkernel_model::{BackendName, ImageRef, Mib, Profile};

/// How many boxes wait, of what, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSettings {
    /// Whether there is a pool at all.
    pub enabled: bool,
    /// Boxes of a kind that are kept ready once it was asked for.
    pub default_min: u32,
    /// The most of one kind, however often it is asked for.
    pub max_per_template: u32,
    /// The most kinds that are kept; the least lately used goes first.
    pub max_templates: u32,
    /// The most that the memory limits of all that wait may come to. A box without a limit counts as a sixteenth of the
    /// machine's memory.
    pub max_memory: Mib,
    /// How long a box may wait.
    pub max_age: Duration,
    /// How many boxes of one backend are made at a time.
    pub parallel_starts: u32,
    /// Kinds that are kept from the start on, and never forgotten. Whoever knows how settings become a specification
    /// gives each to [`crate::Pool::keep`].
    pub templates: Vec<Template>,
}

/// A kind of boxes as a user names it. What is left out is decided as for a command that leaves it out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Who makes them.
    pub backend: Option<BackendName>,
    /// What they start from.
    pub image: Option<ImageRef>,
    /// Their profile.
    pub profile: Option<Profile>,
    /// How many are kept ready.
    pub min: Option<u32>,
    /// The most that are kept, however often they are asked for.
    pub max: Option<u32>,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |count| count.get());
        Self {
            enabled: true,
            default_min: 2,
            max_per_template: 16,
            max_templates: 8,
            max_memory: Mib(machine_memory().0 / 2),
            max_age: Duration::from_secs(600),
            parallel_starts: u32::try_from(cores).unwrap_or(u32::MAX).max(2),
            templates: Vec::new(),
        }
    }
}

/// Of the whole machine.
pub(crate) fn machine_memory() -> Mib {
    let total = rustix::system::sysinfo();
    Mib(u32::try_from((total.totalram * u64::from(total.mem_unit)) >> 20).unwrap_or(u32::MAX))
}
