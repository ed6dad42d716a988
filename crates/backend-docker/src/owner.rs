//! Whose containers these are: by labels, never by name.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The label that carries a box's id.
pub(crate) const ID: &str = "agentkernel.id";
/// The label that carries a sandbox's name.
pub(crate) const NAME: &str = "agentkernel.name";
/// The label that carries the owner.
pub(crate) const OWNER: &str = "agentkernel.owner";
/// The label that says how long a box lives.
pub(crate) const LIFETIME: &str = "agentkernel.lifetime";

/// A user with a state folder: what is made by another is never touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner(String);

impl Owner {
    /// Of `state_dir`, for the user `uid`.
    pub(crate) fn new(uid: u32, state_dir: &Path) -> Self {
        let path = state_dir.canonicalize().unwrap_or_else(|_| state_dir.to_owned());
        // FNV-1a: the same in every version of this program, and nothing is trusted because of it.
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, mix);
        Self(format!("{uid}-{hash:016x}"))
    }

    /// As the label has it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a container with `labels` is this owner's box `id`.
    pub(crate) fn owns(&self, id: &str, labels: Option<&HashMap<String, String>>) -> bool {
        let label = |name| labels.and_then(|labels| labels.get(name)).map(String::as_str);
        label(ID) == Some(id) && label(OWNER) == Some(self.as_str())
    }
}

/// The container's name. That it is ours is said by its labels alone.
pub(crate) fn container_name(id: &str) -> String {
    format!("agentkernel-{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_own_box_is_owned() {
        let owner = Owner::new(1000, Path::new("/nonexistent/state"));
        let labels = |id: &str, owner: &str| {
            HashMap::from([(ID.to_owned(), id.to_owned()), (OWNER.to_owned(), owner.to_owned())])
        };
        assert!(owner.owns("foo", Some(&labels("foo", owner.as_str()))));
        assert!(!owner.owns("foo", Some(&labels("foo-2", owner.as_str()))));
        assert!(!owner.owns("foo", Some(&labels("foo", "somebody"))));
        assert!(!owner.owns("foo", None));
        assert_ne!(owner, Owner::new(1001, Path::new("/nonexistent/state")));
        assert_ne!(owner, Owner::new(1000, Path::new("/nonexistent/other")));
    }
}
