//! Firecracker's API over its unix socket: one type per resource, one file per type. Field names and rules are those of
//! Firecracker's published OpenAPI description; what is left out here is left at Firecracker's own default.

mod action;
mod balloon;
mod boot_source;
mod client;
mod drive;
mod entropy;
mod error;
mod instance;
mod logger;
mod machine_config;
mod metrics;
mod network_interface;
mod rate_limiter;
mod resource;
mod serial;
mod snapshot;
mod version;
mod vm_state;
mod vsock;

pub use action::Action;
pub use balloon::{Balloon, BalloonStatistics, BalloonUpdate, FIRST_WITH_REPORTING};
pub use boot_source::BootSource;
pub use client::{Client, LARGEST_ANSWER_BYTES};
pub use drive::{CacheType, Drive, DriveUpdate, IoEngine};
pub use entropy::Entropy;
pub use error::ApiError;
pub(crate) use error::printable;
pub use instance::{Instance, InstanceState};
pub use logger::{LogLevel, Logger};
pub use machine_config::{HugePages, MachineConfig};
pub use metrics::Metrics;
pub use network_interface::{NetworkInterface, NetworkInterfaceUpdate};
pub use rate_limiter::{RateLimiter, TokenBucket};
pub use serial::Serial;
pub use snapshot::{
    MemoryBackend, MemoryBackendKind, NetworkOverride, SnapshotCreate, SnapshotKind, SnapshotLoad,
    VsockOverride,
};
pub use version::{OLDEST_VERSION, Version};
pub use vm_state::VmState;
pub use vsock::Vsock;
