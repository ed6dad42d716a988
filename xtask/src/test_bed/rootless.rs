//! Podman as the tests' ordinary user.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::daemon::{Daemon, answers};
use super::place::Place;
use super::podman;
use super::processes::MARK;
use crate::command;
use crate::test::TEST_USER;

const FOLDER: &str = "rootless";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the API service as the test user, who must exist; returns its socket.
pub(crate) fn start(place: &Place, registry: &str) -> Result<String> {
    if command::find("newuidmap").is_none() {
        bail!("newuidmap is not installed");
    }
    let subordinate = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    if !subordinate.lines().any(|line| line.starts_with(&format!("{TEST_USER}:"))) {
        bail!("/etc/subuid gives {TEST_USER} no subordinate ids");
    }
    let folder = place.private(FOLDER)?;
    for name in ["home", "run", "tmp"] {
        place.private(&format!("{FOLDER}/{name}"))?;
    }
    podman::write_settings(&folder, registry)?;
    let owner = format!("{TEST_USER}:{TEST_USER}");
    command::output(Command::new("chown").arg("-R").arg(owner).arg(&folder))?;
    let socket = folder.join("podman.sock");
    let mut service = client(place);
    service.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
    let mut daemon = Daemon::start(place, "podman-rootless", &mut service)?;
    daemon.wait_ready(|| answers(&socket)).context("rootless Podman")?;
    Ok(socket.display().to_string())
}

/// `podman` on this user's storage, as this user.
pub(crate) fn client(place: &Place) -> Command {
    let folder = place.join(FOLDER);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", TEST_USER, "--regid", TEST_USER, "--init-groups", "--", "env", "-i"]);
    let variables = [
        ("HOME", folder.join("home").display().to_string()),
        ("TMPDIR", folder.join("tmp").display().to_string()),
        ("XDG_RUNTIME_DIR", folder.join("run").display().to_string()),
        ("PATH", PATH.to_owned()),
        ("USER", TEST_USER.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        (MARK, place.folder.display().to_string()),
    ];
    let all = variables.into_iter().chain(podman::environment(&folder));
    command.args(all.map(|(name, value)| format!("{name}={value}")));
    command.arg("podman").args(podman::flags(&folder)).current_dir("/");
    command
}

/// Removes containers and networks.
pub(crate) fn empty(place: &Place) -> Result<()> {
    let there = place.join(FOLDER).join("root").exists();
    let user = command::output(Command::new("id").args(["-u", TEST_USER])).is_ok();
    if !there || !user || command::find("podman").is_none() {
        return Ok(());
    }
    podman::remove_all(&|| client(place))
}
