//! Server-sent events: those of one command, and those of the whole server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Encoding, ErrorCode, RunResult};

/// The events of `/run/stream` and `exec/stream`. The name stands in `event:`, the fields in `data:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StreamEvent {
    /// `started`: the request was taken.
    Started {
        /// The command.
        command: Vec<String>,
        /// Whether a sandbox that was started earlier could be taken.
        fast: bool,
        /// RFC 3339, UTC.
        timestamp: String,
    },
    /// `progress`: a step is done: `image_pull`, `sandbox_created`, `sandbox_started`.
    Progress {
        /// The step.
        stage: String,
        /// The sandbox, where it has a name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sandbox: Option<String>,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// `output`: bytes, as soon as the command has written them.
    Output {
        /// The bytes.
        data: String,
        /// The same as `data`.
        content: String,
        /// `stdout` or `stderr`.
        stream: String,
        /// How `data` is written: `utf8` only where the bytes are whole characters, else `base64`. Exact either way.
        encoding: Encoding,
    },
    /// `done`: the command has ended. `stdout`, `stderr` and `output` of the result are empty.
    Done {
        /// As in [`RunResult`].
        exit_code: u8,
        /// Whether that is 0.
        success: bool,
        /// The rest.
        result: Box<RunResult>,
    },
    /// `error`: it could not be run. The last event.
    Error {
        /// For people.
        message: String,
        /// For programs.
        code: ErrorCode,
    },
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A sandbox was made.
    SandboxCreated,
    /// A sandbox was started.
    SandboxStarted,
    /// A sandbox was stopped.
    SandboxStopped,
    /// A sandbox was removed.
    SandboxRemoved,
    /// A sandbox's time was stopped.
    SandboxPaused,
    /// A paused sandbox goes on.
    SandboxResumed,
    /// A snapshot was taken of a sandbox: `snapshot` is its name.
    SnapshotTaken,
    /// A snapshot was removed: `snapshot` is its name.
    SnapshotRemoved,
    /// A command was started.
    CommandStarted,
    /// A command has ended.
    CommandEnded,
    /// A file was written.
    FileWritten,
    /// A file was removed.
    FileRemoved,
    /// A request was refused.
    Denied,
    /// The stream can't tell all that happened since `Last-Event-ID`: look again at what you know.
    Missed,
    /// The server is going down.
    ShuttingDown,
}

/// One event of `/events`. Its number is the `id:` of the server-sent event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Counts up from 1 at the server's start.
    pub id: u64,
    /// RFC 3339, UTC.
    pub timestamp: String,
    /// What happened.
    pub kind: EventKind,
    /// The sandbox, where it has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// More, by kind: `exit_code`, `path`, `execution`, ... Never argument values or contents.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}
