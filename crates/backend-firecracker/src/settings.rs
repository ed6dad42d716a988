//! What the user decides of machines, beside each box's own specification.

use std::path::PathBuf;
use std::time::Duration;

use agentkernel_folder_share::ShareProgram;

use crate::rates::DeviceRates;

/// Which virtual machine monitor makes the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VmmChoice {
    /// Firecracker, on a KVM that runs guest kernels itself.
    #[default]
    Firecracker,
    /// QEMU's microvm machine: on such a KVM too, and without one by emulation.
    Qemu,
}

/// Settings of this backend. Programs that are `None` are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirecrackerSettings {
    /// The virtual machine monitor.
    pub vmm: VmmChoice,
    /// Firecracker's program.
    pub firecracker: Option<PathBuf>,
    /// Its jailer.
    pub jailer: Option<PathBuf>,
    /// The guest's kernel, uncompressed.
    pub kernel: Option<PathBuf>,
    /// QEMU's program for this processor.
    pub qemu: Option<PathBuf>,
    /// `vhost-device-vsock`, which QEMU's machines need.
    pub vhost_device_vsock: Option<PathBuf>,
    /// Folders where programs are looked for, in order: those of `PATH`.
    pub search: Vec<PathBuf>,
    /// Machines are made also where the KVM only emulates guest kernels.
    pub allow_emulated_kvm: bool,
    /// The most that saved starts may take on disk, in bytes; `None`: 4 GiB.
    pub max_template_bytes: Option<u64>,
    /// What the devices of each machine may move.
    pub rates: DeviceRates,
    /// What serves folders of the host to machines: a program that calls [`crate::share_main`].
    pub share: ShareProgram,
    /// How long the agent of a machine may say nothing while it is waited for; `None`: 60 s.
    pub longest_silence: Option<Duration>,
    /// Only for this project's tests, and no setting of users: what is named as Firecracker is none, and needs
    /// neither KVM nor jailer.
    pub is_fake: bool,
}

impl FirecrackerSettings {
    /// Whether machines may be made for who named no backend: only by Firecracker, and where an emulating KVM is refused.
    pub fn is_automatic(&self) -> bool {
        self.vmm == VmmChoice::Firecracker && !self.allow_emulated_kvm
    }
}
