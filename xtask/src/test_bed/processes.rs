//! The bed's processes: found by what they are and by the bed's folder in their environment or arguments, so that also
//! those are found that nobody has written down.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::place::Place;
use crate::command;

/// Set for everything that the bed starts, to the bed's folder; children inherit it.
pub(crate) const MARK: &str = "AGENTKERNEL_BED_OWNER";

/// Who may belong to a bed. Anything else that names its folder is somebody's shell or test.
const PROGRAMS: [&str; 14] = [
    "dockerd",
    "containerd",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "docker-proxy",
    "docker-registry",
    "podman",
    "conmon",
    "runc",
    "crun",
    "slirp4netns",
    "rootlessport",
    "aardvark-dns",
    "catatonit",
];

/// Ids of the bed's living processes.
pub(crate) fn of(place: &Place) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| belongs(*id, &place.folder)).collect()
}

fn belongs(id: u32, folder: &Path) -> bool {
    let Ok(program) = std::fs::read_link(format!("/proc/{id}/exe")) else { return false };
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !PROGRAMS.contains(&name.as_str()) {
        return false;
    }
    let read = |file: &str| std::fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
    let mark = format!("{MARK}={}", folder.display());
    let below = format!("{}/", folder.display());
    read("environ").split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
        || read("cmdline").windows(below.len()).any(|window| window == below.as_bytes())
}

/// Sends a signal; a process that is gone already is fine.
pub(crate) fn signal(name: &str, ids: &[u32]) -> Result<()> {
    let alive: Vec<String> =
        ids.iter().filter(|id| Path::new(&format!("/proc/{id}")).exists()).map(ToString::to_string).collect();
    if alive.is_empty() {
        return Ok(());
    }
    // kill(1) fails where one of them has just ended, which is what was wanted.
    match command::output(Command::new("kill").args(["-s", name]).args(&alive)) {
        Err(error) if alive.iter().any(|id| Path::new(&format!("/proc/{id}")).exists()) => Err(error),
        _ => Ok(()),
    }
}

/// Asks again and again until it is so or the time is up; whether it is.
pub(crate) fn wait_until(deadline: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > deadline {
            return false;
        }
        // sleep: between two looks at another process's state, until the deadline
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}
