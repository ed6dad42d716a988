//! What a run of the tests may not leave behind on the machine.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::tally::Verdict;
use crate::workspace::Workspace;

/// How long the kernel gets to finish what was ended (namespaces and interfaces go in the background).
const DEADLINE: Duration = Duration::from_secs(20);

/// Everything of agentkernel's that is on the machine now.
pub(crate) fn present(workspace: &Workspace) -> BTreeSet<String> {
    let mut objects = BTreeSet::new();
    cgroups(Path::new("/sys/fs/cgroup"), 0, &mut objects);
    objects.extend(interfaces());
    objects.extend(mounts());
    objects.extend(processes(workspace));
    objects
}

/// Compares with what was there before the tests, waiting for the kernel to finish.
pub(crate) fn check(workspace: &Workspace, before: &BTreeSet<String>) -> Result<Verdict> {
    let begun = Instant::now();
    loop {
        let now = present(workspace);
        let left: Vec<&String> = now.difference(before).collect();
        if left.is_empty() {
            return Ok(Verdict::Passed);
        }
        if begun.elapsed() > DEADLINE {
            for object in left {
                println!("left behind: {object}");
            }
            return Ok(Verdict::Failed);
        }
        // sleep: the kernel tells nobody when it has removed the last of a namespace
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Control groups below one named after us; the named one itself stays, it is shared by all runs.
fn cgroups(folder: &Path, depth: usize, objects: &mut BTreeSet<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let ours = path.parent().and_then(Path::file_name).is_some_and(|name| name == "agentkernel");
        if ours {
            objects.insert(format!("cgroup {}", path.display()));
        } else if depth < 6 {
            cgroups(&path, depth + 1, objects);
        }
    }
}

fn interfaces() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/class/net") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("ak")).map(|name| format!("network interface {name}")).collect()
}

fn mounts() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    points
        .filter(|point| point.contains("agentkernel") || point.contains("ak-test"))
        .map(|point| format!("mount {point}"))
        .collect()
}

/// What runs machines.
const VMMS: [&str; 3] = ["qemu-system-x86_64", "vhost-device-vsock", "firecracker"];

/// Processes that run a program built here, or the agent that such a program installed, or a machine of theirs.
fn processes(workspace: &Workspace) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id().to_string();
    let ids = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    ids.filter(|id| *id != own && id.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|id| {
            let program = std::fs::read_link(format!("/proc/{id}/exe")).ok()?;
            let ours = program.starts_with(&workspace.target) && !program.ends_with("agentkernel-xtask");
            let agent = program.to_string_lossy().contains("/agentkernel/agent/");
            let machine = VMMS.iter().any(|name| program.ends_with(name)) && {
                let folder = std::fs::read_link(format!("/proc/{id}/cwd")).ok()?;
                folder.to_string_lossy().contains("agentkernel")
            };
            (ours || agent || machine).then(|| format!("process {id} {}", program.display()))
        })
        .collect()
}
