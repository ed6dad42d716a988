//! `cargo xtask soak`: the server under all verbs at once for as long as is asked, killed in the middle if that is asked
//! too, with everything that could be left behind counted before and after.

mod census;
mod kills;
mod load;
mod report;
mod settings;
mod tally;
mod verbs;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::{Docker, Program, Server, deadline, runtime};
use crate::workspace::Workspace;

use census::Machine;
use load::Load;
pub(crate) use settings::Settings;
use tally::Tally;

/// Before the first count: the pool fills, and the server takes the memory that it works with.
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the server gets to become quiet.
const QUIET: Duration = Duration::from_secs(60);

/// Builds the program and does it for each backend. `Ok(false)`: something was lost, wrong or left behind.
pub(crate) fn run(workspace: &Workspace, settings: &Settings) -> Result<bool> {
    let program = match &settings.program {
        Some(file) => Program::install(file)?,
        None => Program::build(workspace)?,
    };
    on_program(&program, settings)
}

/// The same with a program that was built before.
pub(crate) fn on_program(agentkernel: &Program, settings: &Settings) -> Result<bool> {
    let docker = if settings.backends.iter().any(|name| name == "docker") {
        Some(Docker::start(&agentkernel.folder("docker")).context("start a Docker daemon")?)
    } else {
        None
    };
    let mut sound = true;
    for backend in &settings.backends {
        let target = Target { agentkernel, backend, docker: docker.as_ref() };
        sound &= runtime()?.block_on(on_backend(&target, settings))?;
    }
    Ok(sound)
}

/// What is put under load.
struct Target<'a> {
    agentkernel: &'a Program,
    backend: &'a str,
    docker: Option<&'a Docker>,
}

impl Target<'_> {
    /// The program with its environment.
    fn program(&self) -> std::process::Command {
        let mut program = self.agentkernel.command(&[]);
        if let Some(docker) = self.docker {
            program.env("DOCKER_HOST", docker.host());
        }
        program
    }

    fn machine(&self) -> Machine {
        Machine::count(&self.agentkernel.state(), self.docker)
    }
}

async fn on_backend(target: &Target<'_>, settings: &Settings) -> Result<bool> {
    let backend = target.backend;
    println!("soak: {backend}: {} s, {} kills", settings.duration.as_secs(), settings.kills);
    let before = target.machine();
    let log = target.agentkernel.folder(&format!("soak-{backend}.log"));
    let server = Server::on_tcp(target.program(), &log).await?;
    let load = |duration| Load { address: server.client.address(), backend, duration };

    let warm_up = load(WARM_UP.min(settings.duration)).run(None).await;
    quiet(&server).await.context("after the warm-up")?;
    let first = census::stable(&server).await?;
    let (tally, server) = if settings.kills == 0 {
        (load(settings.duration).run(None).await, server)
    } else {
        kills::during(target, &log, server, settings).await?
    };
    quiet(&server).await.context("after the load")?;
    let last = if settings.kills == 0 {
        census::settled(&server, &first).await?
    } else {
        // Another process: its memory and descriptors are compared with nothing.
        first
    };
    server.stop().await?;
    let left = before.left(|| target.machine()).await;
    let tally = Tally::both(warm_up, tally);
    Ok(report::print(target.backend, &tally, (settings.kills == 0).then_some((first, last)), &left))
}

/// Nothing runs, no sandbox is left, and the pool is empty.
async fn quiet(server: &Server) -> Result<()> {
    let client = &server.client;
    deadline("no command runs", QUIET, async || Ok((client.stats().await?.running == 0).then_some(())))
        .await?;
    for sandbox in client.list_sandboxes(&[]).await? {
        client.remove_sandbox(&sandbox.name).await?;
    }
    deadline("the pool is empty", QUIET, async || {
        client.drain_pool().await?;
        let templates = client.pool().await?.templates;
        Ok(templates.iter().all(|kind| kind.ready == 0 && kind.starting == 0).then_some(()))
    })
    .await
}
