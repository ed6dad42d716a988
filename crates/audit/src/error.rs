//! Why the log can't be written or read.

use std::io;
use std::path::{Path, PathBuf};

/// Always about a file of the log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A step on a file failed.
    #[error("could not {action} the audit log {}: {source}", path.display())]
    Io {
        /// The step, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl AuditError {
    /// For `map_err`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source: source.into() }
    }
}
