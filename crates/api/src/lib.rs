//! The HTTP contract: what clients send, what the server answers, the code of each error. Every name here is part of the
//! wire format; fields are only ever added. No server, no client, no I/O.
//!
//! Requests refuse unknown fields: a misspelt limit must not be silently no limit.

mod audit;
mod batch;
mod command;
mod content;
mod error;
mod events;
mod execution;
mod files;
mod machine;
mod new;
mod pool;
mod process;
mod run;
mod sandbox;
mod snapshot;
mod terminal;

pub use audit::AuditRecord;
pub use batch::{BatchCommand, BatchRequest, BatchResult, BatchResults};
pub use command::{Environment, ExecRequest, RunRequest};
pub use content::{Content, Encoding};
pub use error::{Envelope, ErrorBody, ErrorCode};
pub use events::{Event, EventKind, StreamEvent};
pub use execution::{ExecutionInfo, ExecutionStatus, KillRequest, StartedExecution};
pub use files::{DirectoryEntry, DirectoryRequest, FileContent, FileKind, InitialFile, WriteRequest};
pub use machine::{BackendInfo, Health, ImageInfo, PullRequest, Stats, Version};
pub use pool::{DrainReport, PoolStatus, PoolTemplate, WarmRequest};
pub use process::ProcessInfo;
pub use run::{Isolation, RunError, RunResult};
pub use sandbox::{CreateRequest, MountRequest, PortInfo, Sandbox, StopRequest};
pub use snapshot::{ForkRequest, RestoreRequest, Snapshot, SnapshotRequest};
pub use terminal::{ClientMessage, ServerMessage, TerminalInfo, TerminalRequest};
