//! What a pool holds, for people and interfaces.

use agentkernel_model::{BackendName, ImageRef, Mib, Profile};

/// Boxes of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindStatus {
    /// Names the kind: see [`crate::PoolKey::id`].
    pub id: String,
    /// Who makes them.
    pub backend: BackendName,
    /// What they start from.
    pub image: ImageRef,
    /// Their profile.
    pub profile: Profile,
    /// How many wait.
    pub ready: u32,
    /// How many are being made.
    pub starting: u32,
    /// Kept at least.
    pub min: u32,
    /// Kept at most.
    pub max: u32,
    /// Requests that got one that waited.
    pub hits: u64,
    /// Requests that found none.
    pub misses: u64,
    /// Why the last one could not be made, or did not live.
    pub problem: Option<String>,
}

/// All of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// Whether there is one.
    pub enabled: bool,
    /// Most lately used first.
    pub kinds: Vec<KindStatus>,
    /// The memory limits of all that wait, together.
    pub memory: Mib,
    /// The most that may be.
    pub max_memory: Mib,
}
