//! A small POSIX shell over the fake's file tree: lists, `&&`, `||`, `!`, `&`, groups, `if`, `while`, `until`, `for`,
//! redirections, quotes, variables, sums. No pipelines, no traps, no globs.

mod parse;
mod run;

pub(in crate::fake) use run::{Shell, Sink, run_command};
