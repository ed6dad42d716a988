//! The files that tell what a machine can do. Tests put others in their place.

use std::path::{Path, PathBuf};

use agentkernel_config::Environment;

/// A machine as seen through its files.
pub(super) struct Machine {
    root: PathBuf,
    /// Whose sandboxes they would be.
    uid: u32,
}

impl Machine {
    /// This one.
    pub(super) fn this(environment: &Environment) -> Self {
        Self { root: PathBuf::from("/"), uid: environment.uid }
    }

    /// One whose files are below `root`.
    #[cfg(test)]
    pub(super) fn at(root: &Path, uid: u32) -> Self {
        Self { root: root.to_owned(), uid }
    }

    /// Whether it is root's.
    pub(super) fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The path of `file`, which is written as on a real machine.
    pub(super) fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.root.join(file.as_ref().strip_prefix("/").unwrap_or(file.as_ref()))
    }

    /// Its text without the ends' blanks; `None` where it can't be read.
    pub(super) fn read(&self, file: impl AsRef<Path>) -> Option<String> {
        Some(std::fs::read_to_string(self.path(file)).ok()?.trim().to_owned())
    }

    /// Whether it is there.
    pub(super) fn exists(&self, file: impl AsRef<Path>) -> bool {
        self.path(file).exists()
    }
}
