//! One command inside a box: what is asked, and how it ended.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ByteString, Signal, UserSpec};

/// One environment variable.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvVar {
    /// Without `=` and NUL.
    pub name: ByteString,
    /// Without NUL. May be a secret: `Debug` doesn't show it.
    pub value: ByteString,
}

impl std::fmt::Debug for EnvVar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}=<{} bytes>", self.name, self.value.0.len())
    }
}

/// The size of a terminal, in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TtySize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// A command to run. Every field is honoured or the request is refused by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The program and its arguments; the program is looked up in the box's PATH where it holds no slash.
    pub argv: Vec<ByteString>,
    /// The whole environment of the command, not an addition to another.
    pub env: Vec<EnvVar>,
    /// The working directory inside the box; it must exist.
    pub workdir: crate::BoxPath,
    /// Who runs it; `None` is root inside the box.
    pub user: Option<UserSpec>,
    /// Whether standard input is connected; otherwise the command reads end-of-file at once.
    pub stdin: bool,
    /// A pseudo-terminal of this size instead of three pipes; stdout and stderr are then one stream.
    pub tty: Option<TtySize>,
    /// When the whole process tree is killed (SIGKILL), counted from the command's start.
    pub timeout: Option<Duration>,
    /// `Some`: output goes to a log of at most this many bytes (oldest dropped first) that can be read later, and the
    /// command outlives the connection that started it. `None`: output is streamed and the command dies with its client.
    pub detached_log_limit: Option<u64>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(Signal),
    /// Killed because its timeout passed.
    TimedOut,
    /// Its box came to an end before it did.
    BoxEnded,
}

impl Outcome {
    /// The exit code a shell would show: the command's own, 128+n for signal n, 124 for a timeout (as timeout(1)),
    /// 137 for a box that ended (its processes got SIGKILL).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            // Signal numbers end at 64.
            Self::Signaled(signal) => 128 + signal.number() as u8,
            Self::TimedOut => exit_code::TIMED_OUT,
            Self::BoxEnded => 128 + 9,
        }
    }
}

/// Exit codes that are not the command's own.
pub mod exit_code {
    /// The command ran out of its time (as timeout(1) has it).
    pub const TIMED_OUT: u8 = 124;
    /// agentkernel itself failed.
    pub const OURS: u8 = 125;
    /// The command was found and can't be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// The command was not found.
    pub const NOT_FOUND: u8 = 127;
}

/// Why a command could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotExec {
    /// No such program.
    #[error("{program:?}: command not found in the sandbox")]
    NotFound {
        /// What was asked for.
        program: ByteString,
    },
    /// There, and not executable: permissions, format, a folder.
    #[error("{program:?}: can't be executed in the sandbox: {why}")]
    NotExecutable {
        /// What was asked for.
        program: ByteString,
        /// The kernel's reason.
        why: String,
    },
    /// The working directory can't be entered.
    #[error("working directory {path} can't be entered in the sandbox: {why}")]
    Workdir {
        /// What was asked for.
        path: crate::BoxPath,
        /// The kernel's reason.
        why: String,
    },
    /// The user doesn't exist in the box or can't be become there.
    #[error("user {user} can't be used in the sandbox: {why}")]
    User {
        /// What was asked for.
        user: String,
        /// Why.
        why: String,
    },
    /// A limit of the sandbox was met (processes, memory, open files).
    #[error("the sandbox has no room for another command: {why}")]
    NoRoom {
        /// The kernel's reason.
        why: String,
    },
}

impl CannotExec {
    /// The exit code a shell would show.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => exit_code::NOT_FOUND,
            Self::NotExecutable { .. } | Self::Workdir { .. } | Self::User { .. } | Self::NoRoom { .. } => {
                exit_code::NOT_EXECUTABLE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(Outcome::Exited(7).exit_code(), 7);
        assert_eq!(Outcome::Signaled(Signal::TERM).exit_code(), 143);
        assert_eq!(Outcome::TimedOut.exit_code(), 124);
    }

    #[test]
    fn debug_output_hides_values() {
        let var = EnvVar { name: "KEY".into(), value: "hunter2".into() };
        assert!(!format!("{var:?}").contains("hunter2"));
    }
}
