//! The state of a fake machine in a file, with a checksum as the real one has.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plan::Plan;

/// What a machine goes on with.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) drives: BTreeMap<String, String>,
    pub(crate) interfaces: Vec<String>,
    pub(crate) balloon: bool,
    /// What each device was said to be, by its path in the API: with its limits.
    pub(crate) devices: BTreeMap<String, Value>,
    /// Of its agent.
    pub(crate) is_set_up: bool,
    pub(crate) plan: Plan,
}

fn sum(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

impl Saved {
    pub(crate) fn seal(&self) -> String {
        let text = serde_json::to_string(self).expect("a state");
        format!("{}{text}", sum(&text))
    }

    /// `None` where it isn't one, or not as it was written.
    pub(crate) fn open(bytes: &[u8]) -> Option<Self> {
        let (own, text) = std::str::from_utf8(bytes).ok()?.split_at_checked(16)?;
        (own == sum(text)).then(|| serde_json::from_str(text).ok()).flatten()
    }
}
