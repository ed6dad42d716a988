//! What tools are called with. Every field that is advertised is read, and nothing else is taken: a misspelt limit must
//! not silently be no limit.

mod command;
mod files;
mod parse;
mod running;
mod sandboxes;
mod snapshots;

pub(crate) use command::{CompatibilityMode, DetachArguments, ExecArguments, RunArguments};
pub(crate) use files::{FileListArguments, FileReadArguments, FileWriteArguments};
pub(crate) use parse::{invalid, parse};
pub(crate) use running::{ExecKillArguments, ExecListArguments, ExecLogsArguments};
pub(crate) use sandboxes::{CreateArguments, ListArguments, NameArguments, StopArguments};
pub(crate) use snapshots::{ForkArguments, RestoreArguments, SnapshotNameArguments, TakeArguments};
