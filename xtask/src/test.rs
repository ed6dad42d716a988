//! `cargo xtask test`: every gate and every test, as root and as an ordinary user, counted.

mod accessible;
mod bed_for_tests;
mod choice;
mod junit;
mod leftovers;
mod libtest;
mod machines_for_tests;
mod person;
mod prepare;
mod run;
mod suite;
mod tally;
mod tools;

pub(crate) use choice::Choice;
pub(crate) use person::{NAME as TEST_USER, close_tun, ensure_user as ensure_test_user, open_tun};
pub(crate) use prepare::{FOR_BENCHMARKS, Needed, cache_folder, install_packages};
pub(crate) use run::run;
