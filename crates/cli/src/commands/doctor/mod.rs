//! `doctor`: what this machine can do, what is wrong with it, and the exact fix.

mod backends;
mod check;
mod command;
mod kernel;
mod machine;
mod state;

pub(super) use backends::missing;
pub(crate) use check::{Check, Status};
pub(super) use command::{Args, check_lines, run};
