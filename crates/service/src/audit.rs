//! What is written down of every action: the shape of an entry and the place it goes to.

use std::path::PathBuf;
use std::time::SystemTime;

use agentkernel_api as api;

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was allowed and done, or begun.
    Allowed,
    /// It was refused: scope, quota, limits.
    Denied,
    /// It was allowed and went wrong.
    Failed,
}

impl Verdict {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One action. Values of environment variables and contents of files are never in it; arguments may hold secrets and
/// are redacted by whoever writes them down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub time: SystemTime,
    /// [`crate::Caller::name`].
    pub caller: String,
    /// [`crate::Caller::from`].
    pub from: String,
    /// What: `run`, `exec`, `exec_end`, `create`, `write_file`, ...
    pub action: &'static str,
    /// The sandbox, where it has a name.
    pub sandbox: Option<String>,
    /// Whose it is.
    pub backend: Option<String>,
    /// The command's id in its sandbox.
    pub execution: Option<String>,
    /// The command, as it was given.
    pub argv: Vec<String>,
    /// The file, inside.
    pub path: Option<PathBuf>,
    /// How many bytes were moved.
    pub bytes: Option<u64>,
    /// How a command ended.
    pub exit_code: Option<u8>,
    /// Whether it was done.
    pub verdict: Verdict,
    /// Why it was not.
    pub why: Option<String>,
}

/// Where entries go. Called on the way of every request: must not block on the disk, nor lose what it took.
pub trait AuditSink: Send + Sync {
    /// Takes one entry.
    fn record(&self, entry: AuditEntry);

    /// The last entries, oldest first, at most `limit`: all, or those of one sandbox. Reads the disk; called on a thread
    /// for blocking work.
    fn recent(&self, sandbox: Option<&str>, limit: usize) -> Result<Vec<api::AuditRecord>, std::io::Error>;
}

/// Forgets everything: for programs that serve nobody but their own user, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAudit;

impl AuditSink for NoAudit {
    fn record(&self, _: AuditEntry) {}

    fn recent(&self, _: Option<&str>, _: usize) -> Result<Vec<api::AuditRecord>, std::io::Error> {
        Ok(Vec::new())
    }
}
