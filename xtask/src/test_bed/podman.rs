//! Podman as root, with storage, networks and socket of its own, and with limits by default as some distributions have
//! them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::daemon::{Daemon, answers};
use super::place::Place;
use crate::command;

const FOLDER: &str = "podman";

/// containers.conf(5). The ulimits are other than what boxes ask for: a backend that doesn't say which limits it wants
/// gets these. Soft and hard ones are equal, because Podman 4.3 swaps them for containers made through its socket; and
/// without them Podman asks for more than a root without CAP_SYS_RESOURCE may have.
const SETTINGS: &str = "\
[containers]
default_ulimits = [\"nofile=4096:4096\", \"nproc=8192:8192\"]
[engine]
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
runtime = \"RUNTIME\"
[network]
network_backend = \"netavark\"
";

/// Where control groups of both versions are mounted, which crun refuses.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// containers-registries.conf(5): plain HTTP on the loopback, and no registry to guess for short names.
const REGISTRIES: &str = "\
unqualified-search-registries = []
[[registry]]
prefix = \"127.0.0.1\"
location = \"127.0.0.1\"
insecure = true
";

/// Starts the API service; returns its socket.
pub(crate) fn start(place: &Place, registry: &str) -> Result<String> {
    let folder = place.private(FOLDER)?;
    write_settings(&folder, registry)?;
    let socket = place.join("podman.sock");
    let mut service = client(place);
    service.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
    let mut daemon = Daemon::start(place, "podman", &mut service)?;
    daemon.wait_ready(|| answers(&socket))?;
    Ok(socket.display().to_string())
}

/// containers.conf and registries.conf for a Podman in `folder`.
pub(crate) fn write_settings(folder: &Path, registry: &str) -> Result<()> {
    let runtime = if Path::new(HYBRID).exists() { "runc" } else { "crun" };
    let settings = SETTINGS.replace("RUNTIME", runtime);
    std::fs::write(folder.join("containers.conf"), settings).context("write containers.conf")?;
    let registries = REGISTRIES.replace("127.0.0.1", registry);
    std::fs::write(folder.join("registries.conf"), registries).context("write registries.conf")
}

/// `podman` on this storage.
pub(crate) fn client(place: &Place) -> Command {
    let mut command = Command::new("podman");
    for (name, value) in environment(&place.join(FOLDER)) {
        command.env(name, value);
    }
    command.args(flags(&place.join(FOLDER)));
    command
}

/// Which settings it reads.
pub(crate) fn environment(folder: &Path) -> [(&'static str, String); 2] {
    let file = |name: &str| folder.join(name).display().to_string();
    [("CONTAINERS_CONF", file("containers.conf")), ("CONTAINERS_REGISTRIES_CONF", file("registries.conf"))]
}

/// Where it keeps what.
pub(crate) fn flags(folder: &Path) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let pairs = [
        ("--root", file("root")),
        ("--runroot", file("runroot")),
        ("--tmpdir", file("state")),
        ("--network-config-dir", file("networks")),
        ("--storage-driver", "overlay".to_owned()),
    ];
    pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
}

/// Names the loaded images as Docker does: Podman has put `localhost/` before them.
pub(crate) fn name_images(names: &[String], client: impl Fn() -> Command) -> Result<()> {
    for name in names {
        let image = format!("agentkernel-test/{name}:1");
        let pair = [format!("localhost/{image}"), format!("docker.io/{image}")];
        command::output(client().arg("tag").args(pair))?;
    }
    Ok(())
}

/// Removes containers and networks.
pub(crate) fn empty(place: &Place) -> Result<()> {
    if !place.join(FOLDER).join("root").exists() || command::find("podman").is_none() {
        return Ok(());
    }
    remove_all(&|| client(place))
}

/// The same with any Podman.
pub(crate) fn remove_all(client: &dyn Fn() -> Command) -> Result<()> {
    command::output(client().args(["rm", "--all", "--force", "--time", "0"]))?;
    command::output(client().args(["network", "prune", "--force"])).map(drop)
}
