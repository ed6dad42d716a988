//! What tools answer: fields for programs, text for models and people.

mod answer;
mod command;
mod files;
mod running;
mod sandboxes;
mod snapshots;

pub(crate) use answer::{failure, success};
pub(crate) use command::{CommandResult, isolation_line};
pub(crate) use files::{FileList, FileRead, FileWritten, whole_characters};
pub(crate) use running::{DetachedCommand, ExecLogs, ExecutionList, Killed};
pub(crate) use sandboxes::{Done, SandboxList, line as one_line};
pub(crate) use snapshots::{SnapshotList, line as snapshot_line};
