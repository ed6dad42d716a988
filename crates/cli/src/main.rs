//! The agentkernel command line: parse, compose, call the engine, render. The only crate that prints, exits or prompts.

mod application;
mod arguments;
mod commands;
mod daemon_boxes;
mod output;
mod outside;
mod progress;
mod serving;
mod session;
mod stdio;
mod warm_pool;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(application::main(std::env::args_os()))
}
