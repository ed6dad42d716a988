//! The command line's words: what is parsed here can't be wrong later.

mod command_line;
mod duration;
mod exec_flags;
mod label;
mod sandbox_flags;
mod tip;

pub(crate) use command_line::{CommandLine, shown_tree};
pub(crate) use duration::parse_duration;
pub(crate) use exec_flags::{TerminalFlags, caller_env, parse_variable, terminal_kind};
pub(crate) use label::parse_label;
pub(crate) use sandbox_flags::SandboxFlags;
