//! `cargo xtask bench`: every number that the documents state, measured interleaved in one run.

mod concurrency;
mod contender;
mod docker;
mod engines;
mod images;
mod images_table;
mod limits;
mod machine;
mod memory;
mod microvm;
mod program;
mod result;
mod run;
mod serve;
mod settings;
mod statistics;
mod steps;
mod table;
mod timing;

pub(crate) use docker::Docker;
pub(crate) use images::run as run_images;
pub(crate) use machine::{commit, now, of_tests as machine_of_tests};
pub(crate) use microvm::{run as run_microvm, take_in as take_in_microvm};
pub(crate) use program::Program;
pub(crate) use run::run;
pub(crate) use serve::{Server, deadline, run as run_serve, runtime};
pub(crate) use settings::Settings;
pub(crate) use table::{newest as table, write as write_table};
