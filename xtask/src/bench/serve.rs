//! The server: how long a client waits, how many it serves at once, how fast output streams, what idle sandboxes cost it.

mod idle;
mod latency;
mod load;
mod process;
pub(super) mod result;
pub(super) mod table;
mod throughput;

use std::path::Path;

use anyhow::{Result, bail};

use super::program::Program;
use super::result::Skipped;
use super::settings::Settings;
use super::{machine, table as page};
use crate::command;
use crate::workspace::Workspace;

pub(crate) use process::{Server, deadline, runtime};
use result::ServeReport;

/// Measures and writes the result and the page; with `--program FILE` that program, else what is built now.
/// `Ok(false)`: a run failed.
pub(crate) fn run(workspace: &Workspace, flags: &[&str]) -> Result<bool> {
    if cfg!(debug_assertions) {
        return again_as_released(workspace, flags);
    }
    let (program, flags) = match flags {
        ["--program", file, rest @ ..] => (Program::install(Path::new(file))?, rest),
        _ => (Program::build(workspace)?, flags),
    };
    let settings = Settings::parse(flags)?;
    let report = runtime()?.block_on(measure(workspace, &settings, &program))?;
    page::write_serve(workspace, &report)?;
    Ok(report.load.is_some_and(|load| load.failed == 0))
}

/// The client is part of what is timed, and is timed as its users have it: with optimisations.
fn again_as_released(workspace: &Workspace, flags: &[&str]) -> Result<bool> {
    let package = "agentkernel-xtask";
    if !command::succeeds(&mut workspace.cargo(&[
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--package",
        package,
    ]))? {
        bail!("`cargo build --release --package {package}` failed");
    }
    let program = workspace.binaries("release").join(package);
    command::succeeds(workspace.command(&program.to_string_lossy()).args(["bench", "serve"]).args(flags))
}

async fn measure(workspace: &Workspace, settings: &Settings, agentkernel: &Program) -> Result<ServeReport> {
    let (taken_at, machine) = (machine::now(), machine::describe(&agentkernel.file()));
    let mut skipped = Vec::new();
    let rows = latency::measure(agentkernel, settings.rounds, &mut skipped).await?;
    let mut keep = Kept { skipped };
    println!("bench: many at once");
    let load = keep.or_skip("many runs at once", load::measure(agentkernel, settings.concurrent_runs).await);
    println!("bench: streamed output");
    let throughput = keep.or_skip("streamed output", throughput::measure(agentkernel).await);
    println!("bench: idle sandboxes");
    let idle = keep.or_skip("idle sandboxes", idle::measure(agentkernel).await);
    let commit = machine::commit(&workspace.root);
    Ok(ServeReport { taken_at, commit, machine, rows, load, throughput, idle, skipped: keep.skipped })
}

/// What could not be measured, and why.
struct Kept {
    skipped: Vec<Skipped>,
}

impl Kept {
    fn or_skip<T>(&mut self, what: &str, found: Result<T>) -> Option<T> {
        found
            .map_err(|error| {
                let why = format!("{error:#}");
                println!("bench: {what}: {why}");
                self.skipped.push(Skipped { what: what.to_owned(), why });
            })
            .ok()
    }
}
