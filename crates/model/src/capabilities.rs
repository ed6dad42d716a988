//! What a backend can do, as data: the engine refuses by it, the conformance suite tests by it, the docs list it.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that a backend either does in full or refuses by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// Image `host`.
    HostImage,
    /// OCI images.
    OciImages,
    /// Outbound network.
    Network,
    /// Ports published on the host.
    PublishedPorts,
    /// Host folders shown live inside.
    Mounts,
    /// A root filesystem that can't be written.
    ReadOnlyRoot,
    /// A limit of memory.
    MemoryLimit,
    /// A limit of processor time.
    CpuLimit,
    /// A limit of processes.
    PidsLimit,
    /// A limit of the root filesystem's size in one-shot boxes.
    DiskLimit,
    /// A limit of the root filesystem's size in sandboxes that survive a stop.
    PersistentDiskLimit,
    /// A limit of open files.
    OpenFilesLimit,
    /// Commands as users other than root.
    OtherUsers,
    /// A terminal.
    Terminal,
    /// Detached commands with logs.
    DetachedCommands,
    /// Files in and out.
    Files,
    /// A connection to a port inside.
    PortForwarding,
    /// Sandboxes that outlive their maker and keep files over stop and start.
    PersistentSandboxes,
    /// Running sandboxes that stand still on demand, are kept as they run, and are copied.
    Snapshots,
}

impl Feature {
    /// All features, in the order of the documentation's table.
    pub const ALL: [Self; 19] = [
        Self::HostImage,
        Self::OciImages,
        Self::Network,
        Self::PublishedPorts,
        Self::Mounts,
        Self::ReadOnlyRoot,
        Self::MemoryLimit,
        Self::CpuLimit,
        Self::PidsLimit,
        Self::DiskLimit,
        Self::PersistentDiskLimit,
        Self::OpenFilesLimit,
        Self::OtherUsers,
        Self::Terminal,
        Self::DetachedCommands,
        Self::Files,
        Self::PortForwarding,
        Self::PersistentSandboxes,
        Self::Snapshots,
    ];

    /// In the words of an error message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostImage => "the host's own system as image",
            Self::OciImages => "OCI images",
            Self::Network => "outbound network",
            Self::PublishedPorts => "published ports",
            Self::Mounts => "mounts of host folders",
            Self::ReadOnlyRoot => "a read-only root",
            Self::MemoryLimit => "a memory limit",
            Self::CpuLimit => "a cpu limit",
            Self::PidsLimit => "a process limit",
            Self::DiskLimit => "a disk limit",
            Self::PersistentDiskLimit => "a disk limit of a persistent sandbox",
            Self::OpenFilesLimit => "an open-files limit",
            Self::OtherUsers => "commands as users other than root",
            Self::Terminal => "a terminal",
            Self::DetachedCommands => "detached commands",
            Self::Files => "file transfer",
            Self::PortForwarding => "port forwarding",
            Self::PersistentSandboxes => "persistent sandboxes",
            Self::Snapshots => "pause, snapshots and forks",
        }
    }

    /// Whether `--allow-unlimited` may waive it.
    pub fn is_limit(self) -> bool {
        matches!(
            self,
            Self::MemoryLimit
                | Self::CpuLimit
                | Self::PidsLimit
                | Self::DiskLimit
                | Self::PersistentDiskLimit
                | Self::OpenFilesLimit
        )
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one backend can do on this machine; what it can't carries the reason and the fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    missing: BTreeMap<Feature, String>,
}

impl Capabilities {
    /// Everything but `missing`: each with why, and what the user can do about it.
    pub fn all_but(missing: impl IntoIterator<Item = (Feature, String)>) -> Self {
        Self { missing: missing.into_iter().collect() }
    }

    /// Whether `feature` is there.
    pub fn has(&self, feature: Feature) -> bool {
        !self.missing.contains_key(&feature)
    }

    /// Why `feature` is missing, and the fix; `None` where it is there.
    pub fn why_missing(&self, feature: Feature) -> Option<&str> {
        self.missing.get(&feature).map(String::as_str)
    }
}
