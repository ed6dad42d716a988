//! Project tasks: `cargo xtask TASK`. Nothing here is part of the program that users install.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a tool for developers, run in a terminal")]

mod arguments;
mod bench;
mod command;
mod conformance;
mod console_blocks;
mod generated;
mod kernel;
mod layers;
mod microvm_bed;
mod soak;
mod test;
mod test_bed;
mod tidy;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::run(std::env::args().skip(1).collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}
