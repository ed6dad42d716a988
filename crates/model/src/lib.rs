//! The vocabulary of agentkernel. Every type is parsed once at the border and can't hold a wrong value afterwards.
//! This crate does no I/O and knows no backend.

mod byte_string;
mod capabilities;
mod exec;
mod image;
mod image_config;
mod image_id;
mod isolation;
mod mount;
mod name;
mod phase;
mod port;
mod profile;
mod pull;
mod resources;
mod signal;
mod spec;

pub use byte_string::ByteString;
pub use capabilities::{Capabilities, Feature};
pub use exec::{CannotExec, EnvVar, ExecRequest, Outcome, TtySize, exit_code};
pub use image::{HOST_IMAGE, ImageError, ImageRef};
pub use image_config::ImageConfig;
pub use image_id::{ImageId, ImageIdError};
pub use isolation::{Boundary, Isolation};
pub use mount::{Access, BoxPath, BoxPathError, Mount, MountError};
pub use name::{BackendName, ExecId, NameError, SandboxName, SnapshotName};
pub use phase::{Action, Phase, PhaseError};
pub use port::{PortError, PublishedPort};
pub use profile::{Grants, NetworkAccess, PassEnv, Profile, ProfileError};
pub use pull::{PullEvent, PullPolicy, PullPolicyError, PullProgress};
pub use resources::{AtLeast, Cpus, Mib, OpenFiles, Pids, QuantityError, Resources, TooFew};
pub use signal::{Signal, SignalError};
pub use spec::{SandboxSpec, UserSpec, UserSpecError};
