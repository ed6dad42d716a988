//! The order of the measurements.

use anyhow::{Context, Result, bail};

use super::contender::{exec_contenders, run_contenders};
use super::docker::Docker;
use super::program::Program;
use super::result::{Group, Report, Skipped};
use super::settings::Settings;
use super::{concurrency, engines, machine, memory, steps, table, timing};
use crate::command;
use crate::test::{FOR_BENCHMARKS, install_packages};
use crate::workspace::Workspace;

const SANDBOX: &str = "bench-exec";

/// Measures everything and writes the result and the table. `Ok(false)`: a run of the program under test failed.
pub(crate) fn run(workspace: &Workspace, settings: &Settings) -> Result<bool> {
    install_packages(FOR_BENCHMARKS)?;
    if !command::succeeds(&mut workspace.cargo(&["build", "--release", "--locked", "--quiet"]))? {
        bail!("`cargo build --release` failed");
    }
    let agentkernel = Program::install(&workspace.binaries("release").join("agentkernel"))?;
    let mut skipped = Vec::new();
    let docker = match Docker::start(&agentkernel.folder("docker")) {
        Ok(docker) => Some(docker),
        Err(error) => {
            skipped.push(Skipped { what: "Docker".to_owned(), why: format!("{error:#}") });
            None
        }
    };
    let report = measure(workspace, settings, &agentkernel, docker.as_ref(), skipped)?;
    drop(docker);
    let name = format!("{}.json", report.taken_at.replace(':', "-"));
    let folder = workspace.root.join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let mut json = serde_json::to_string(&report)?;
    json.push('\n');
    std::fs::write(folder.join(&name), json).with_context(|| format!("write bench/results/{name}"))?;
    println!("bench: bench/results/{name}");
    table::write(workspace)?;
    Ok(report.concurrency.iter().all(|row| row.failed == 0))
}

fn measure(
    workspace: &Workspace,
    settings: &Settings,
    agentkernel: &Program,
    docker: Option<&Docker>,
    mut skipped: Vec<Skipped>,
) -> Result<Report> {
    let (taken_at, machine) = (machine::now(), machine::describe(&agentkernel.file()));
    let contenders = run_contenders(&agentkernel.file(), docker, &mut skipped);
    let run = timing::interleaved(
        "run",
        "A new box for one command",
        contenders,
        agentkernel,
        settings.rounds,
        &mut skipped,
    )?;
    let mut groups = vec![run, exec_group(agentkernel, docker, settings, &mut skipped)?];
    groups.extend(engines::groups(agentkernel, docker, settings.rounds, &mut skipped)?);

    println!("bench: concurrency");
    let concurrency = vec![
        concurrency::plain(agentkernel, settings.concurrent_runs),
        concurrency::with_limits(agentkernel, settings.concurrent_runs),
    ];
    println!("bench: memory");
    let mut idle = Vec::new();
    let mut keep = |what: &str, found: Result<_>| match found {
        Ok(memory) => idle.push(memory),
        Err(error) => skipped.push(Skipped { what: what.to_owned(), why: format!("{error:#}") }),
    };
    keep("memory of idle sandboxes", memory::of_agentkernel(agentkernel, settings.idle_sandboxes));
    if let Some(docker) = docker {
        keep("memory of idle containers", memory::of_docker(docker, settings.idle_sandboxes.min(5)));
    }
    let steps = steps::measure(agentkernel, settings.rounds).unwrap_or_else(|error| {
        skipped.push(Skipped { what: "cost of each step".to_owned(), why: format!("{error:#}") });
        Vec::new()
    });
    let commit = machine::commit(&workspace.root);
    Ok(Report { taken_at, commit, machine, groups, concurrency, memory: idle, steps, skipped })
}

fn exec_group(
    agentkernel: &Program,
    docker: Option<&Docker>,
    settings: &Settings,
    skipped: &mut Vec<Skipped>,
) -> Result<Group> {
    let ours = |words: &[&str]| command::output(&mut agentkernel.command(words)).map(drop);
    ours(&["create", SANDBOX])?;
    ours(&["start", SANDBOX])?;
    let in_docker = docker.and_then(|docker| {
        let made = engines::start_in_docker(agentkernel, docker);
        made.map_err(|error| {
            let what = "exec with backend docker".to_owned();
            skipped.push(Skipped { what, why: format!("{error:#}") });
        })
        .ok()
    });
    let container = match docker {
        Some(docker) => {
            let mut run = docker.command(&["run", "--detach", Docker::IMAGE, "/bin/sleep", "1000"]);
            Some((docker, command::output(&mut run)?.trim().to_owned()))
        }
        None => None,
    };
    let known = container.as_ref().map(|(docker, id)| (*docker, id.as_str()));
    let mut contenders = exec_contenders(&agentkernel.file(), SANDBOX, known);
    contenders.extend(in_docker.as_ref().map(|running| running.contender(agentkernel)));
    let title = "One more command in a box that runs";
    let group = timing::interleaved("exec", title, contenders, agentkernel, settings.rounds, skipped);
    if let Some((docker, id)) = &container {
        command::output(&mut docker.command(&["rm", "--force", id]))?;
    }
    ours(&["remove", "--force", SANDBOX])?;
    if let Some(running) = in_docker {
        running.remove(agentkernel)?;
    }
    group
}
