//! `key`: the API keys of this state directory's servers.

mod create;
mod group;
mod list;
mod record;
mod remove;

pub(crate) use group::{Args, run};
