//! `/snapshot/create` and `/snapshot/load`. Paths are relative to Firecracker's working directory.

use serde::Serialize;

/// What to write of a paused machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotCreate {
    /// Where the state of processors and devices goes.
    pub snapshot_path: String,
    /// Where the memory goes.
    pub mem_file_path: String,
    /// All of it, or what changed.
    pub snapshot_type: SnapshotKind,
}

/// How much of the memory is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum SnapshotKind {
    /// All.
    Full,
    /// What changed since the last snapshot; needs `track_dirty_pages`.
    Diff,
}

/// What to become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotLoad {
    /// The state.
    pub snapshot_path: String,
    /// The memory.
    pub mem_backend: MemoryBackend,
    /// Whether later snapshots may hold only what changed.
    pub track_dirty_pages: bool,
    /// Whether it runs at once.
    pub resume_vm: bool,
    /// Other TAP devices for its interfaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_overrides: Vec<NetworkOverride>,
    /// Another socket for its vsock. Later than 1.14: a relative path in another working directory serves as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vsock_override: Option<VsockOverride>,
}

/// Where memory comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryBackend {
    /// In which way.
    pub backend_type: MemoryBackendKind,
    /// The file, or the socket of who serves it.
    pub backend_path: String,
}

/// In which way memory comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum MemoryBackendKind {
    /// The file is mapped, private: pages are shared with all that map it until written.
    File,
    /// Page by page from a process that handles the faults (userfaultfd(2)).
    Uffd,
}

/// Another TAP device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NetworkOverride {
    /// Of the snapshot.
    pub iface_id: String,
    /// Of the host, now.
    pub host_dev_name: String,
}

/// Another socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VsockOverride {
    /// See [`super::Vsock::uds_path`].
    pub uds_path: String,
}
