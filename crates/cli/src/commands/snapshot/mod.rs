//! `snapshot`: running sandboxes kept as they are, one verb a file.

mod group;
mod list;
mod remove;
mod restore;
mod take;

pub(crate) use group::{Args, run};
