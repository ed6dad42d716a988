//! Everything that a server could leave behind, in itself and on the machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::{Docker, Server};
use crate::command;

/// How long the kernel gets to finish what was ended, and the server to close what nobody uses.
const SETTLE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// More than so much more memory than before is a leak: allocators keep some of what they had.
const MEMORY_SLACK_KIB: u64 = 16 << 10;
/// Descriptors may differ by those of work that comes and goes by itself, such as a look at a configuration.
const FILES_SLACK: usize = 4;

/// The store's own: made once, and kept.
const STORE_LOCK: &str = ".making.lock";

/// A server that has nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerState {
    pub(super) open_files: usize,
    pub(super) resident_kib: u64,
}

impl ServerState {
    pub(super) fn of(server: &Server) -> Result<Self> {
        Ok(Self { open_files: server.open_files()?, resident_kib: server.resident_kib()? })
    }

    /// Whether it is not more than `before`.
    pub(super) fn is_within(&self, before: &Self) -> bool {
        self.open_files <= before.open_files + FILES_SLACK
            && self.resident_kib <= before.resident_kib + before.resident_kib / 4 + MEMORY_SLACK_KIB
    }
}

/// The server's state once it has closed what nobody uses: the same for a second.
pub(super) async fn stable(server: &Server) -> Result<ServerState> {
    let begun = Instant::now();
    let (mut state, mut since) = (ServerState::of(server)?, Instant::now());
    while since.elapsed() < Duration::from_secs(1) && begun.elapsed() < SETTLE {
        // sleep: nobody tells when the server has closed a connection
        tokio::time::sleep(PAUSE).await;
        let now = ServerState::of(server)?;
        if now.open_files != state.open_files {
            since = Instant::now();
        }
        state = now;
    }
    Ok(state)
}

/// The server's state once it is as before, or for good.
pub(super) async fn settled(server: &Server, before: &ServerState) -> Result<ServerState> {
    let begun = Instant::now();
    loop {
        let now = ServerState::of(server)?;
        if now.is_within(before) || begun.elapsed() > SETTLE {
            return Ok(now);
        }
        // sleep: nobody tells when the server has closed a connection
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is on the machine that could be of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    objects: BTreeSet<String>,
}

impl Machine {
    /// `state`: the server's state folder, beside which the program is.
    pub(super) fn count(state: &Path, docker: Option<&Docker>) -> Self {
        let mut objects = BTreeSet::new();
        let folder = state.parent().unwrap_or(state);
        objects.extend(processes(folder));
        objects.extend(mounts());
        let (mut groups, mut of_others) = (Vec::new(), BTreeSet::new());
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut groups);
        of_others
            .extend(groups.iter().filter(|group| is_of_others(group, folder)).filter_map(|path| id(path)));
        groups.retain(|group| id(group).is_none_or(|id| !of_others.contains(&id)));
        objects.extend(groups.iter().map(|path| format!("cgroup {}", path.display())));
        objects.extend(interfaces(&of_others));
        for kind in ["leases", "sandboxes", "stage"] {
            let files = entries(&state.join(kind)).into_iter().filter(|path| !path.ends_with(STORE_LOCK));
            objects.extend(files.map(|path| format!("file {}", path.display())));
        }
        if let Some(docker) = docker {
            let listed =
                command::output(&mut docker.command(&["ps", "--all", "--quiet"])).unwrap_or_default();
            objects.extend(listed.lines().map(|id| format!("container {id}")));
        }
        Self { objects }
    }

    /// What is there now and was not before, once the kernel has finished. What comes and goes meanwhile belongs to
    /// somebody else.
    pub(super) async fn left(&self, count: impl Fn() -> Self) -> BTreeSet<String> {
        let begun = Instant::now();
        let mut left: Option<BTreeSet<String>> = None;
        loop {
            let new: BTreeSet<String> = count().objects.difference(&self.objects).cloned().collect();
            let still: BTreeSet<String> = match &left {
                Some(left) => left.intersection(&new).cloned().collect(),
                None => new,
            };
            if still.is_empty() || begun.elapsed() > SETTLE {
                return still;
            }
            left = Some(still);
            // sleep: the kernel tells nobody when it has removed the last of a namespace
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Programs below `folder` that run, and agents of any box.
fn processes(folder: &Path) -> Vec<String> {
    entries(Path::new("/proc"))
        .iter()
        .filter_map(|path| {
            let program = std::fs::read_link(path.join("exe")).ok()?;
            let ours = program.starts_with(folder) && !program.starts_with(folder.join("docker"));
            ours.then(|| format!("process {} {}", path.display(), program.display()))
        })
        .collect()
}

fn mounts() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let ours = points.filter(|point| point.contains("agentkernel") || point.contains("/ak-"));
    // Docker's own come and go with its containers, which are counted.
    ours.filter(|point| !point.contains("/docker/")).map(|point| format!("mount {point}")).collect()
}

/// Control groups right below one named after us.
fn cgroups(folder: &Path, depth: usize, groups: &mut Vec<PathBuf>) {
    for path in entries(folder).into_iter().filter(|path| path.is_dir()) {
        let ours = path.parent().and_then(Path::file_name).is_some_and(|name| name == "agentkernel");
        if ours {
            groups.push(path);
        } else if depth < 6 {
            cgroups(&path, depth + 1, groups);
        }
    }
}

/// The box that a control group is of.
fn id(group: &Path) -> Option<String> {
    group.file_name().and_then(|name| name.to_str()).map(str::to_owned)
}

/// Whether a living agentkernel that is not below `folder` holds the box of a control group: this machine may have a daemon
/// of its own. A box that nobody holds is ours.
fn is_of_others(group: &Path, folder: &Path) -> bool {
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let Some(mut process) = processes.lines().next().and_then(|line| line.parse::<u32>().ok()) else {
        return false;
    };
    while let Some(parent) = parent_of(process).filter(|parent| *parent > 1) {
        let program = std::fs::read_link(format!("/proc/{parent}/exe")).unwrap_or_default();
        let agentkernel =
            program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("agentkernel"));
        if agentkernel && !program.starts_with(folder) {
            return true;
        }
        process = parent;
    }
    false
}

fn parent_of(process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|number| number.trim().parse().ok())
}

/// Names are `ak-` and the beginning of the box's id.
fn interfaces(of_others: &BTreeSet<String>) -> Vec<String> {
    let names = entries(Path::new("/sys/class/net"));
    let names = names.iter().filter_map(|path| path.file_name()?.to_str());
    let is_of_others = |name: &str| {
        let id = name.trim_start_matches("ak-");
        of_others.iter().any(|other| other.starts_with(id))
    };
    let ours = names.filter(|name| name.starts_with("ak") && !is_of_others(name));
    ours.map(|name| format!("network interface {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::runtime;

    #[test]
    fn what_stays_is_left_and_what_goes_is_not() {
        let machine =
            |names: &[&str]| Machine { objects: names.iter().map(|name| (*name).to_owned()).collect() };
        let before = machine(&["old"]);
        let looks = std::cell::Cell::new(0);
        let left = runtime().unwrap().block_on(before.left(|| {
            looks.set(looks.get() + 1);
            machine(if looks.get() < 3 { &["old", "new"] } else { &[] })
        }));
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(looks.get(), 3);
    }

    #[test]
    fn growth_beyond_the_slack_is_a_leak() {
        let before = ServerState { open_files: 20, resident_kib: 20_000 };
        assert!(ServerState { open_files: 24, resident_kib: 25_000 + (16 << 10) }.is_within(&before));
        assert!(!ServerState { open_files: 25, ..before }.is_within(&before));
        assert!(!ServerState { resident_kib: 50_000, ..before }.is_within(&before));
    }

    #[test]
    fn a_parent_is_found() {
        assert_eq!(parent_of(std::process::id()), Some(std::os::unix::process::parent_id()));
        assert_eq!(parent_of(1), Some(0));
    }

    #[test]
    fn this_process_is_found() {
        let folder = std::env::current_exe().unwrap();
        assert!(!processes(folder.parent().unwrap()).is_empty());
    }
}
