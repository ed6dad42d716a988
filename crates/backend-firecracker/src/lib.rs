//! MicroVMs: each sandbox a kernel of its own. Firecracker, or QEMU's microvm machine behind the same seam.

pub mod api;
mod backend;
mod ephemeral;
mod equipment;
mod ground;
mod initramfs;
mod kept;
mod live_mounts;
mod persistent;
mod placement;
mod plan;
pub mod probe;
pub mod provision;
mod rates;
mod removal;
mod seal;
mod settings;
mod snapshot_file;
mod snapshots;
mod socket;
mod sparse;
mod stamp;
mod start;
mod steps;
mod surroundings;
mod taken;
mod template;
pub mod vmm;
pub mod vsock;

pub use agentkernel_folder_share::{ShareProgram, share_main};
pub use backend::FirecrackerBackend;
pub use initramfs::initramfs;
pub use rates::DeviceRates;
pub use settings::{FirecrackerSettings, VmmChoice};
