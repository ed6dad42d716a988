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
mod program;
mod result;
mod run;
mod settings;
mod statistics;
mod steps;
mod table;
mod timing;

pub(crate) use images::run as run_images;
pub(crate) use machine::{commit, now, of_tests as machine_of_tests};
pub(crate) use run::run;
pub(crate) use settings::Settings;
pub(crate) use table::{newest as table, write as write_table};
