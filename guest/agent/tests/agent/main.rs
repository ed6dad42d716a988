//! The real agent as PID 1 of a pid namespace and nothing else, driven as a host drives it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it skips"
)]

mod box_under_test;
mod commands;
mod detached;
mod files;
mod machine;
mod ports;
mod speed;

use box_under_test::{TestBox, collect, request, shell, until};
