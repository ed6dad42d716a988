//! The same command in a new box of each backend, against the engine's own client with the same options.

use std::process::Command;

use anyhow::{Result, bail};

use super::contender::Contender;
use super::docker::Docker;
use super::program::Program;
use super::result::{Group, Skipped};
use super::timing;
use crate::command;
use crate::test_bed::Guard;

/// Options of `docker run` and `podman run`: the limits of profile `moderate`, no network, and no way to more rights.
const SAME_OPTIONS: [&str; 12] = [
    "--network",
    "none",
    "--memory",
    "512m",
    "--cpus",
    "1",
    "--pids-limit",
    "1024",
    "--ulimit",
    "nofile=8192:8192",
    "--security-opt",
    "no-new-privileges",
];
const SANDBOX: &str = "bench-exec-docker";
const BUSYBOX: &str = "agentkernel-test/busybox:1";
const DEBIAN: &str = "agentkernel-test/debian:1";

const OURS: &str = "moderate without network: the profile's capabilities, own seccomp filter, limits";
const THEIRS: &str = "the same limits, the engine's capabilities and filter";

/// All groups that can be measured here.
pub(super) fn groups(
    agentkernel: &Program,
    docker: Option<&Docker>,
    rounds: usize,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    let mut measure = |id: &str, title: &str, contenders, skipped: &mut Vec<Skipped>| {
        timing::interleaved(id, title, contenders, agentkernel, rounds, skipped)
            .map(|group| groups.push(group))
    };
    if let Some(docker) = docker {
        let contenders = vec![Contender::bare(), our_docker(agentkernel, docker), their_docker(docker)];
        measure("run-docker", "A new box for one command, on Docker", contenders, skipped)?;
    }
    match Guard::start() {
        Ok(bed) => {
            if let Some(contenders) = podman_contenders(agentkernel, &bed) {
                measure("run-podman", "A new box for one command, on Podman", contenders, skipped)?;
            } else {
                skipped.push(Skipped { what: "Podman".to_owned(), why: "the test bed has none".to_owned() });
            }
            match import(agentkernel, &bed) {
                Ok(()) => {
                    let title = "A new native box for one command, on an image that is here";
                    measure("run-image", title, image_contenders(agentkernel), skipped)?;
                }
                Err(error) => skipped
                    .push(Skipped { what: "native boxes on images".to_owned(), why: format!("{error:#}") }),
            }
            bed.stop()?;
        }
        Err(error) => skipped.push(Skipped { what: "the test bed".to_owned(), why: format!("{error:#}") }),
    }
    Ok(groups)
}

fn our_docker(agentkernel: &Program, docker: &Docker) -> Contender {
    let program = agentkernel.file();
    let program = program.to_string_lossy();
    let argv = [
        &program,
        "run",
        "--backend",
        "docker",
        "--image",
        Docker::IMAGE,
        "--no-network",
        "--",
        "echo",
        "hello",
    ];
    Contender::new("agentkernel-docker", OURS, &argv).with("DOCKER_HOST", docker.host())
}

fn their_docker(docker: &Docker) -> Contender {
    let mut argv = vec!["docker", "run", "--rm"];
    argv.extend(SAME_OPTIONS);
    argv.extend([Docker::IMAGE, "/bin/echo", "hello"]);
    let mut contender = Contender::new("docker-same", THEIRS, &argv);
    contender.argv.splice(..1, docker.client());
    contender
}

/// `None` where the bed has no Podman.
fn podman_contenders(agentkernel: &Program, bed: &Guard) -> Option<Vec<Contender>> {
    let socket = bed.podman_socket()?;
    let program = agentkernel.file();
    let program = program.to_string_lossy();
    let argv =
        [&program, "run", "--backend", "podman", "--image", BUSYBOX, "--no-network", "--", "echo", "hello"];
    let ours =
        Contender::new("agentkernel-podman", OURS, &argv).with("CONTAINER_HOST", format!("unix://{socket}"));
    // With any ulimit given Podman forgets its settings' ones, and asks for more processes than some roots may have.
    let mut argv = vec!["podman", "run", "--rm", "--ulimit", "nproc=8192:8192"];
    argv.extend(SAME_OPTIONS);
    argv.extend([BUSYBOX, "/bin/echo", "hello"]);
    let mut theirs = Contender::new("podman-same", THEIRS, &argv);
    // Its own storage is named by flags and settings, which the label leaves out.
    let client = bed.podman();
    theirs.argv.splice(..1, words(&client));
    for (name, value) in client.get_envs() {
        let value = value.unwrap_or_default().to_string_lossy().into_owned();
        theirs = theirs.with(&name.to_string_lossy(), value);
    }
    Some(vec![Contender::bare(), ours, theirs])
}

fn words(command: &Command) -> Vec<String> {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// Puts the bed's images into the program's own store.
fn import(agentkernel: &Program, bed: &Guard) -> Result<()> {
    for name in ["busybox", "debian"] {
        let archive = bed.file(&format!("images/{name}.docker.tar"));
        if !archive.is_file() {
            bail!("the test bed has no image {name}");
        }
        command::output(agentkernel.command(&["image", "import"]).arg(archive))?;
    }
    Ok(())
}

fn image_contenders(agentkernel: &Program) -> Vec<Contender> {
    let program = agentkernel.file();
    let program = program.to_string_lossy();
    let run = |id, image| {
        let argv = [&program, "run", "--no-network", "--image", image, "--", "echo", "hello"];
        Contender::new(id, "moderate without network", &argv)
    };
    vec![
        Contender::bare(),
        run("agentkernel-host", "host"),
        run("agentkernel-debian", DEBIAN),
        run("agentkernel-busybox", BUSYBOX),
    ]
}

/// A sandbox of ours in the benchmark's Docker.
pub(super) struct RunningInDocker {
    host: String,
}

/// Makes and starts one.
pub(super) fn start_in_docker(agentkernel: &Program, docker: &Docker) -> Result<RunningInDocker> {
    let running = RunningInDocker { host: docker.host() };
    let create = ["create", "--backend", "docker", "--image", Docker::IMAGE, "--no-network", SANDBOX];
    running.run(agentkernel, &create)?;
    running.run(agentkernel, &["start", SANDBOX])?;
    Ok(running)
}

impl RunningInDocker {
    fn run(&self, agentkernel: &Program, words: &[&str]) -> Result<()> {
        command::output(agentkernel.command(words).env("DOCKER_HOST", &self.host)).map(drop)
    }

    /// One more command in it.
    pub(super) fn contender(&self, agentkernel: &Program) -> Contender {
        let program = agentkernel.file();
        let argv = [&program.to_string_lossy(), "exec", SANDBOX, "--", "echo", "hello"];
        let does = "as the sandbox, whose backend is Docker";
        Contender::new("agentkernel-exec-docker", does, &argv).with("DOCKER_HOST", self.host.clone())
    }

    /// Removes it.
    pub(super) fn remove(self, agentkernel: &Program) -> Result<()> {
        self.run(agentkernel, &["remove", "--force", SANDBOX])
    }
}
