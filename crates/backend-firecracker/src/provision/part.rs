//! What can be installed.

use std::path::{Path, PathBuf};

/// The kernel's name in the folder of this backend.
pub(crate) const KERNEL: &str = "vmlinux";

/// One of the files that machines are made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The virtual machine monitor.
    Firecracker,
    /// What starts it in a root folder of its own, as root.
    Jailer,
    /// The guest's kernel.
    Kernel,
    /// What QEMU's machines need for vsock.
    VhostDeviceVsock,
}

impl Part {
    /// All.
    pub const ALL: [Self; 4] = [Self::Firecracker, Self::Jailer, Self::Kernel, Self::VhostDeviceVsock];

    /// Its name where it is installed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firecracker => "firecracker",
            Self::Jailer => "jailer",
            Self::Kernel => KERNEL,
            Self::VhostDeviceVsock => "vhost-device-vsock",
        }
    }

    /// Its name in a source: `firecracker-x86_64`.
    pub fn file(self) -> String {
        format!("{}-{}", self.name(), std::env::consts::ARCH)
    }

    /// Whether there is nothing to install without it.
    pub fn is_required(self) -> bool {
        self != Self::VhostDeviceVsock
    }

    pub(super) fn is_program(self) -> bool {
        self != Self::Kernel
    }

    /// The most bytes that are taken; several times of what there is today.
    pub(super) fn bytes_max(self) -> u64 {
        256 << 20
    }

    /// Where it is installed, in the folder of this backend.
    pub fn place(self, folder: &Path) -> PathBuf {
        match self {
            Self::Kernel => folder.join(KERNEL),
            program => folder.join("bin").join(program.name()),
        }
    }
}
