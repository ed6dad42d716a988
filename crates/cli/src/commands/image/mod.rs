//! `image`: what sandboxes start from, one verb a file.

mod export;
mod group;
mod import;
mod inspect;
pub(super) mod list;
mod prune;
mod pull;
mod remove;
mod usage;

pub(crate) use group::{Args, run};
pub(crate) use import::import_stream;
