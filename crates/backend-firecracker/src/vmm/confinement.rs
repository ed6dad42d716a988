//! What holds a VMM should the guest take it over: a statement, for whoever shows it.

use serde::{Deserialize, Serialize};

/// What is in force around a VMM, and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Confinement {
    /// In force, from outside to inside.
    pub layers: Vec<String>,
    /// Not in force, each with its reason.
    pub missing: Vec<String>,
}

impl Confinement {
    pub(super) fn with(mut self, layer: impl Into<String>) -> Self {
        self.layers.push(layer.into());
        self
    }

    pub(super) fn without(mut self, what: impl Into<String>) -> Self {
        self.missing.push(what.into());
        self
    }
}
