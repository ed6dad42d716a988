//! A Docker daemon with folders, socket and control group of its own.

use std::process::Command;

use anyhow::{Context, Result};

use super::daemon::{Daemon, answers};
use super::place::Place;
use crate::command;

const SOCKET: &str = "docker.sock";

/// Starts it; returns its socket.
pub(crate) fn start(place: &Place) -> Result<String> {
    let folder = place.private("docker")?;
    let socket = place.join(SOCKET);
    // The machine's own settings are for the machine's own daemon.
    std::fs::write(folder.join("daemon.json"), "{}").context("write daemon.json")?;
    let mut command = Command::new("dockerd");
    command
        .arg("--config-file")
        .arg(folder.join("daemon.json"))
        .arg("--data-root")
        .arg(folder.join("data"))
        .arg("--exec-root")
        .arg(folder.join("run"))
        .arg("--pidfile")
        .arg(folder.join("pid"))
        .arg("--host")
        .arg(format!("unix://{}", socket.display()))
        .args(["--group", "root"])
        // No bridge of its own: docker0 may be another daemon's. Networks that are asked for are made.
        .args(["--bridge", "none"])
        .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent"])
        .arg(cgroup(place))
        // Where the machine has a containerd, the daemon uses it: there too, apart from others.
        .args(["--containerd-namespace", "ak-bed", "--containerd-plugins-namespace", "ak-bed-plugins"]);
    let mut daemon = Daemon::start(place, "dockerd", &mut command)?;
    daemon.wait_ready(|| answers(&socket))?;
    Ok(socket.display().to_string())
}

/// The control group that all containers' lie in.
pub(crate) fn cgroup(place: &Place) -> String {
    format!("/{}", place.folder.file_name().unwrap_or_default().to_string_lossy())
}

/// The client of this daemon.
pub(crate) fn client(place: &Place) -> Command {
    let mut command = Command::new("docker");
    command.arg("--host").arg(format!("unix://{}", place.join(SOCKET).display()));
    // Not the caller's settings and credentials.
    command.env("DOCKER_CONFIG", place.join("docker"));
    command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
    command
}

/// Removes containers and networks, where the daemon still answers.
pub(crate) fn empty(place: &Place) -> Result<()> {
    if !answers(&place.join(SOCKET)) {
        return Ok(());
    }
    let ids = command::output(client(place).args(["ps", "--all", "--quiet", "--no-trunc"]))?;
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if !ids.is_empty() {
        command::output(client(place).args(["rm", "--force", "--volumes"]).args(ids))?;
    }
    command::output(client(place).args(["network", "prune", "--force"])).map(drop)
}
