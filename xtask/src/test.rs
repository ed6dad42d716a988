//! `cargo xtask test`: every gate and every test, as root and as an ordinary user, counted.

mod accessible;
mod choice;
mod junit;
mod leftovers;
mod libtest;
mod person;
mod prepare;
mod run;
mod suite;
mod tally;

pub(crate) use choice::Choice;
pub(crate) use prepare::{FOR_BENCHMARKS, install_packages};
pub(crate) use run::run;
