//! What can be chosen about the log.

use std::time::Duration;

/// How much of a command is written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Arguments {
    /// The program and its arguments, with what looks like a secret masked.
    #[default]
    Redacted,
    /// The program alone, and how many arguments it got.
    Program,
}

/// The choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// A file that has grown to this many bytes is put aside and a new one is begun.
    pub max_file_bytes: u64,
    /// How many files that were put aside are kept; the oldest goes first.
    pub keep_files: u32,
    /// How much of a command is written.
    pub arguments: Arguments,
    /// How often what was written is made durable against a power failure. A process that dies, in whatever way, loses
    /// nothing: each entry is with the kernel when [`crate::AuditLog::record`] returns. `None`: only at rotation; for
    /// processes that live shortly.
    pub sync_every: Option<Duration>,
}

impl Default for AuditSettings {
    /// 64 MiB a file, 16 files, arguments with secrets masked, durable within two seconds.
    fn default() -> Self {
        Self {
            max_file_bytes: 64 << 20,
            keep_files: 16,
            arguments: Arguments::Redacted,
            sync_every: Some(Duration::from_secs(2)),
        }
    }
}
