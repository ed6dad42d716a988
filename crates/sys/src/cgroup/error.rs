//! What can go wrong with control groups.

use std::path::PathBuf;

use super::{Missing, Resource};

/// Why a group could not be made, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The name can't be a folder's.
    #[error("{name:?} can't name a control group: use letters, digits, '-', '_' and '.', at most 128")]
    BadName {
        /// What was given.
        name: String,
    },
    /// The machine can't limit that. Nothing was changed.
    #[error("can't limit {resource}: {missing}")]
    CannotLimit {
        /// What was to be limited.
        resource: Resource,
        /// Why, and what to do.
        missing: Missing,
    },
    /// A group of that name is there already.
    #[error("control group {path} already exists", path = path.display())]
    AlreadyExists {
        /// Its folder.
        path: PathBuf,
    },
    /// The kernel took a limit without an error and keeps another.
    #[error("{path} was set to {wanted} but says {found:?}", path = path.display())]
    NotApplied {
        /// The file of the limit.
        path: PathBuf,
        /// What was written.
        wanted: String,
        /// What it says now.
        found: String,
    },
    /// Processes are still in it.
    #[error("control group {path} still holds processes {processes:?} after {waited_millis} ms", path = path.display())]
    Busy {
        /// Its folder.
        path: PathBuf,
        /// Their ids.
        processes: Vec<i32>,
        /// How long it was waited for them.
        waited_millis: u128,
    },
    /// A system call failed.
    #[error("could not {action} {path}: {source}", path = path.display())]
    System {
        /// As a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: rustix::io::Errno,
    },
}

impl From<CgroupError> for std::io::Error {
    fn from(error: CgroupError) -> Self {
        let kind = match &error {
            CgroupError::System { source, .. } => source.kind(),
            CgroupError::BadName { .. } => std::io::ErrorKind::InvalidInput,
            CgroupError::CannotLimit { .. } => std::io::ErrorKind::Unsupported,
            CgroupError::AlreadyExists { .. } => std::io::ErrorKind::AlreadyExists,
            CgroupError::Busy { .. } => std::io::ErrorKind::ResourceBusy,
            CgroupError::NotApplied { .. } => std::io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
