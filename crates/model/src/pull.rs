//! Getting an image: when, and what is told meanwhile.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When an image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Where it isn't here yet; a second use touches no network.
    #[default]
    Missing,
    /// Each time; what is here already isn't fetched again.
    Always,
    /// Never: one that isn't here is an error.
    Never,
}

impl PullPolicy {
    /// All, default first.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Always, Self::Never];

    /// As users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// Why a text is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown pull policy {text:?}: it must be missing, always or never")]
pub struct PullPolicyError {
    text: String,
}

impl FromStr for PullPolicy {
    type Err = PullPolicyError;
    fn from_str(text: &str) -> Result<Self, PullPolicyError> {
        let known = Self::ALL.into_iter().find(|policy| policy.as_str() == text);
        known.ok_or_else(|| PullPolicyError { text: text.to_owned() })
    }
}

impl fmt::Display for PullPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What happens while an image is fetched. Layers are named by the first 12 digits of their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// The registry is asked what the reference means now.
    Resolving {
        /// The whole reference, with its registry.
        reference: String,
    },
    /// A layer begins, at `done` bytes where an earlier attempt is continued.
    Layer {
        /// Which.
        id: String,
        /// Compressed bytes already here.
        done: u64,
        /// Compressed bytes in all; 0 where that isn't known.
        total: u64,
    },
    /// A layer was here already.
    LayerPresent {
        /// Which.
        id: String,
    },
    /// More of a layer has arrived.
    Progress {
        /// Which.
        id: String,
        /// Compressed bytes here now.
        done: u64,
    },
    /// A layer is whole, verified and unpacked.
    LayerDone {
        /// Which.
        id: String,
    },
    /// An attempt failed and is made again.
    Retry {
        /// What failed and why.
        why: String,
    },
    /// A line of a build's output, for people.
    BuildOutput {
        /// As the builder printed it; hostile text.
        line: String,
    },
}

/// Who is told. Called from several threads; must not block.
pub trait PullProgress: Send + Sync {
    /// Something happened.
    fn report(&self, event: PullEvent);
}

/// Nobody is told.
impl PullProgress for () {
    fn report(&self, _event: PullEvent) {}
}
