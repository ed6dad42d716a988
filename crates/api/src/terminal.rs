//! Commands over a WebSocket.
//!
//! Text messages are JSON, as below. Binary messages are bytes: the first byte says whose (0 standard input, 1 standard
//! output, 2 standard error), the rest is data. A terminal's output is standard output.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ExecRequest, RunResult};

/// A terminal to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalRequest {
    /// What runs in it; `stdin` and `encoding` are refused.
    pub exec: ExecRequest,
    /// Lines.
    #[serde(default = "rows")]
    pub rows: u16,
    /// Characters a line.
    #[serde(default = "columns")]
    pub columns: u16,
    /// How long it lives on without anybody attached; 0 ends it with its connection. 300 by default, 86,400 at most.
    #[serde(default = "keep")]
    pub keep_seconds: u32,
}

fn rows() -> u16 {
    24
}

fn columns() -> u16 {
    80
}

fn keep() -> u32 {
    300
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TerminalInfo {
    /// Its id.
    pub id: String,
    /// Its sandbox.
    pub sandbox: String,
    /// The command.
    pub command: Vec<String>,
    /// Whether somebody is attached.
    pub attached: bool,
    /// Once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message on `exec/connect`: what to run.
    Exec {
        /// The command; its standard input comes in binary messages.
        exec: ExecRequest,
        /// A terminal of this many lines and columns.
        #[serde(default)]
        tty: Option<(u16, u16)>,
    },
    /// The terminal's new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters a line.
        columns: u16,
    },
    /// A signal for the command.
    Signal {
        /// `SIGINT`, `INT` or `2`.
        signal: String,
    },
    /// End of standard input.
    Eof,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The command runs.
    Started {
        /// Its id in its sandbox.
        id: String,
    },
    /// Attached to a terminal; the end of what it has shown so far follows.
    Attached {
        /// Its id.
        id: String,
        /// Bytes that are no longer kept.
        dropped: u64,
    },
    /// It has ended; all of its output was sent. The connection is closed next.
    Exit {
        /// As in `RunResult`; its stdout and stderr are empty.
        result: Box<RunResult>,
    },
    /// It could not be run or went wrong. The connection is closed next.
    Error {
        /// For people.
        message: String,
        /// For programs.
        code: crate::ErrorCode,
    },
    /// Somebody else attached to the terminal. The connection is closed next.
    Taken,
}
