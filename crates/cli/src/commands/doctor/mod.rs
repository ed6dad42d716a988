//! `doctor`: what this machine can do, what is wrong with it, and the exact fix.

mod backends;
mod check;
mod command;
mod default_run;
mod kernel;
mod machine;
mod state;
mod survey;

pub(super) use backends::{default_run, missing};
pub(crate) use check::{Check, Status};
pub(super) use command::{Args, check_lines, run};
pub(super) use default_run::{DefaultRun, pull_command};
pub(super) use survey::{Survey, Surveyed};
