//! What can go wrong with the state folder.

use std::io;
use std::path::{Path, PathBuf};

use agentkernel_model::{SandboxName, SnapshotName};

/// Why a record could not be read, written, locked or removed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No sandbox by that name.
    #[error("sandbox {name:?} does not exist; `agentkernel list` shows those that do", name = name.as_str())]
    NotFound {
        /// The name.
        name: SandboxName,
    },
    /// The name is taken.
    #[error("sandbox {name:?} already exists; choose another name or remove it with `agentkernel remove {name}`", name = name.as_str())]
    AlreadyExists {
        /// The name.
        name: SandboxName,
    },
    /// No snapshot by that name.
    #[error("snapshot {name:?} does not exist; `agentkernel snapshot list` shows those that do", name = name.as_str())]
    SnapshotNotFound {
        /// The name.
        name: SnapshotName,
    },
    /// The name is taken, or being taken.
    #[error("snapshot {name:?} already exists; choose another name or remove it with `agentkernel snapshot remove {name}`", name = name.as_str())]
    SnapshotExists {
        /// The name.
        name: SnapshotName,
    },
    /// Another process writes, reads or removes it.
    #[error("snapshot {name:?} is in use by another process; try again when that has ended", name = name.as_str())]
    SnapshotBusy {
        /// The name.
        name: SnapshotName,
    },
    /// More than may be kept.
    #[error(
        "snapshots would take {needed_bytes} bytes, the limit is {max_bytes}; raise `snapshots.max_size` or remove some with \
         `agentkernel snapshot remove`"
    )]
    SnapshotsFull {
        /// What all of them would take.
        needed_bytes: u64,
        /// What they may take.
        max_bytes: u64,
    },
    /// Another process works on it and didn't finish in time.
    #[error(
        "sandbox {name:?} is being changed by {owner}; try again when that has ended",
        name = name.as_str(),
        owner = owner_pid.map_or("another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Busy {
        /// The name.
        name: SandboxName,
        /// Who holds it, where that is known.
        owner_pid: Option<u32>,
    },
    /// A record that a newer agentkernel wrote.
    #[error("{path} has format version {found}, this agentkernel knows up to {known}; use the newer agentkernel that wrote it", path = path.display())]
    NewerVersion {
        /// The record's file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// A record that can't be understood.
    #[error("{path} is damaged: {why}; restore it, or delete its folder to give the sandbox up", path = path.display())]
    Damaged {
        /// The record's file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The state folder belongs to somebody else.
    #[error("state folder {path} belongs to user id {owner}, not to yours ({own}); choose another with --state-dir", path = path.display())]
    ForeignOwner {
        /// The folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The caller.
        own: u32,
    },
    /// Something is still mounted in a folder that should be removed; what is mounted was not touched.
    #[error("{path} is still a mount point, so it was not removed; unmount it and run the command again", path = path.display())]
    StillMounted {
        /// The mount point.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("could not {action} {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    Io {
        /// A verb: `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space or choose another folder with --state-dir"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; choose a folder that you can write with --state-dir"
        }
        _ => "",
    }
}

impl StoreError {
    /// For `map_err`: `source` happened while doing `action` to `path`.
    pub(crate) fn io<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}
