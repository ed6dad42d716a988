//! The contract of every backend. A backend makes boxes and gives the host a [`Guest`] for each; everything a user does
//! inside a box goes through that. Nothing here knows a concrete backend.

mod agent;
mod contract;
mod ending;
mod error;
mod guest;
mod hand_over;
mod images;
mod mount_target;
mod registry;
mod requirements;
mod snapshots;

pub use agent::{AGENT_CAPABILITIES, AgentGuest, Entrance, UnspokenAgent};
pub use contract::{Backend, BoxRecord, EphemeralBox, Probe, Reclaimed};
pub use ending::ask_to_end;
pub use error::BackendError;
pub use guest::{
    Execution, ExecutionControl, ExecutionInfo, ExecutionState, FileInfo, FileKind, Guest, InputStream,
    LogChunk, LogChunks, LogRead, OrderedLog, OutputKind, OutputStream, ProcessInfo, TcpStreamInside,
};
pub use hand_over::{EndSignal, HandOver};
pub use images::{BuildRequest, ImageBuilder, Images, ReadyImage};
pub use mount_target::{check_mount_target, is_reserved};
pub use registry::Registry;
pub use requirements::{Lifetime, refuse_unsupported, requirements};
pub use snapshots::Snapshots;
