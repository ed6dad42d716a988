//! `cargo xtask bench`: every number that the documents state, measured interleaved in one run.

mod concurrency;
mod contender;
mod docker;
mod limits;
mod machine;
mod memory;
mod program;
mod result;
mod run;
mod settings;
mod statistics;
mod steps;
mod table;
mod timing;

pub(crate) use run::run;
pub(crate) use settings::Settings;
pub(crate) use table::{newest as table, write as write_table};
