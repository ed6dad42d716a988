//! The end of a bed, whether it was ended in order or killed: everything that it started and made goes away.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::firewall::Before;
use super::place::Place;
use super::{docker, podman, processes, rootless};
use crate::command;
use crate::test::{TEST_USER, close_tun};

/// How long processes get to end when they are asked to.
const GRACE: Duration = Duration::from_secs(30);
const NOTES: &str = "undo.json";
/// What root's Podman keeps in shared memory.
pub(crate) const LOCKS: &str = "/dev/shm/libpod_lock";

/// What has to be undone outside of the folder; written before it is done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Notes {
    /// Whether the test user was not there before.
    pub(crate) made_user: bool,
    /// Whether root's Podman had its locks in shared memory before.
    pub(crate) had_locks: bool,
    /// The mode of the tunnel device before it was opened to the user.
    pub(crate) tun_mode: Option<u32>,
    /// `None` without iptables.
    pub(crate) firewall: Option<Before>,
}

impl Notes {
    pub(crate) fn write(&self, place: &Place) -> Result<()> {
        std::fs::write(place.join(NOTES), serde_json::to_string(self)?).context("write the bed's notes")
    }

    fn read(place: &Place) -> Result<Option<Self>> {
        match std::fs::read(place.join(NOTES)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).context("read the bed's notes"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read the bed's notes"),
        }
    }
}

/// Ends the bed and removes its folder; fine where there is none. Goes on after a step that fails, and then tells of the
/// first.
pub(crate) fn remove(place: &Place) -> Result<()> {
    if !place.folder.exists() {
        return Ok(());
    }
    place.check_owner()?;
    let mut failures = Vec::new();
    let mut step = |what: &str, result: Result<()>| {
        if let Err(error) = result {
            failures.push(format!("{what}: {error:#}"));
        }
    };
    // From here on it is not a bed that could be used.
    step("forget that it was ready", forget(&place.join("variables")));
    step("empty Docker", docker::empty(place));
    step("empty Podman", podman::empty(place));
    step("empty rootless Podman", rootless::empty(place));
    step("end processes", end_processes(place));
    step("control groups", remove_cgroups(&docker::cgroup(place)));
    step("Podman's control groups", remove_empty_cgroups());
    step("mounts", unmount(&place.folder));
    let notes = Notes::read(place);
    if let Ok(Some(Notes { had_locks: false, .. })) = &notes {
        step("Podman's locks", forget(Path::new(LOCKS)));
    }
    if let Ok(Some(Notes { firewall: Some(before), .. })) = &notes {
        step("packet filter", before.restore());
    }
    if let Ok(Some(Notes { made_user: true, .. })) = &notes {
        step("test user", remove_user());
    }
    if let Ok(Some(Notes { tun_mode: Some(mode), .. })) = &notes {
        step("tunnel device", close_tun(*mode));
    }
    step("notes", notes.map(drop));
    step("folder", command::output(Command::new("rm").arg("-rf").arg(&place.folder)).map(drop));
    match failures.is_empty() {
        true => Ok(()),
        false => {
            bail!("the test bed in {} was not removed whole: {}", place.folder.display(), failures.join("; "))
        }
    }
}

/// With what its Podman keeps in shared memory.
fn remove_user() -> Result<()> {
    let id = command::output(Command::new("id").args(["-u", TEST_USER]))?;
    forget(Path::new(&format!("/dev/shm/libpod_rootless_lock_{}", id.trim())))?;
    command::output(Command::new("userdel").arg(TEST_USER)).map(drop)
}

fn forget(file: &Path) -> Result<()> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

/// SIGTERM, which daemons end their own children on, then SIGKILL for what is left.
fn end_processes(place: &Place) -> Result<()> {
    let gone = || processes::of(place).is_empty();
    processes::signal("TERM", &processes::of(place))?;
    if processes::wait_until(GRACE, gone) {
        return Ok(());
    }
    processes::signal("KILL", &processes::of(place))?;
    if !processes::wait_until(GRACE, gone) {
        bail!("still alive: {:?}", processes::of(place));
    }
    Ok(())
}

/// Kills what is left in the containers' control groups, in every hierarchy, and removes the groups.
fn remove_cgroups(name: &str) -> Result<()> {
    let script = r#"
for top in /sys/fs/cgroup"$1" /sys/fs/cgroup/*"$1"; do
    [ -d "$top" ] || continue
    find "$top" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null
    for attempt in 1 2 3 4 5 6 7 8 9 10; do
        find "$top" -depth -type d -exec rmdir {} + 2>/dev/null && break
        sleep 0.2
    done
    [ ! -d "$top" ] || { echo "$top is still there" >&2; exit 1; }
done
"#;
    command::output(Command::new("sh").args(["-c", script, "sh", name])).map(drop)
}

/// The group that Podman puts its containers' below, where nobody's container is in it.
fn remove_empty_cgroups() -> Result<()> {
    let script = "rmdir /sys/fs/cgroup/libpod_parent /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true";
    command::output(Command::new("sh").args(["-c", script])).map(drop)
}

/// Takes down every mount at or below `folder`, the innermost first.
fn unmount(folder: &Path) -> Result<()> {
    let table = std::fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    let points: Vec<&str> = table.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    for point in points.into_iter().rev().filter(|point| Path::new(point).starts_with(folder)) {
        command::output(Command::new("umount").args(["--lazy", point]))?;
    }
    Ok(())
}
