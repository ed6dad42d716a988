//! What idle sandboxes cost in memory: their processes, and what the kernel charges their control groups.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::docker::Docker;
use super::program::Program;
use super::result::Memory;
use crate::command;

/// Starts `count` sandboxes, looks, and removes them.
pub(crate) fn of_agentkernel(agentkernel: &Program, count: usize) -> Result<Memory> {
    let names: Vec<String> = (0..count).map(|number| format!("bench-idle-{number}")).collect();
    let each = |words: &[&str]| -> Result<()> {
        for name in &names {
            command::output(agentkernel.command(words).arg(name))?;
        }
        Ok(())
    };
    let before = processes();
    let started = each(&["create"]).and_then(|()| each(&["start"]));
    let found = started.and_then(|()| measure(&before, "agentkernel", count));
    each(&["remove", "--force"])?;
    let label = "`agentkernel create` and `start`, nothing run inside";
    Ok(Memory { id: "agentkernel".to_owned(), label: label.to_owned(), ..found? })
}

/// The same with containers that sleep.
pub(crate) fn of_docker(docker: &Docker, count: usize) -> Result<Memory> {
    let before = processes();
    let mut ids = Vec::new();
    for _ in 0..count {
        let mut run = docker.command(&["run", "--detach", Docker::IMAGE, "/bin/sleep", "1000"]);
        ids.push(command::output(&mut run)?.trim().to_owned());
    }
    let found = measure(&before, "docker", count);
    for id in &ids {
        command::output(&mut docker.command(&["rm", "--force", id]))?;
    }
    let label = "`docker run --detach ... sleep`, without the daemons";
    Ok(Memory { id: "docker".to_owned(), label: label.to_owned(), ..found? })
}

/// Looks at all processes that were not there before and that belong to `owner`, by program or control group.
fn measure(before: &BTreeSet<u32>, owner: &str, count: usize) -> Result<Memory> {
    let (mut pss_kib, mut number, mut groups) = (0, 0, BTreeSet::new());
    for pid in processes().difference(before) {
        let group = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let program = program.to_string_lossy();
        if !group.contains(owner) && !program.contains(owner) && !program.contains("containerd-shim") {
            continue;
        }
        number += 1;
        pss_kib += rollup_kib(*pid, ["Pss"]).map_or(0, |[pss]| pss);
        groups.extend(memory_group(&group, owner));
    }
    let charged: Option<Vec<u64>> = groups.iter().map(|path| charged_kib(path)).collect();
    let per = |total: u64| total as f64 / count as f64;
    Ok(Memory {
        id: String::new(),
        label: String::new(),
        sandboxes: count,
        process_pss_kib: per(pss_kib),
        charged_kib: charged.filter(|all| !all.is_empty()).map(|all| per(all.iter().sum())),
        processes: per(number),
    })
}

/// All that run.
pub(super) fn processes() -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Fields of `smaps_rollup` of proc_pid_smaps(5), in KiB.
pub(super) fn rollup_kib<const FIELDS: usize>(pid: u32, fields: [&str; FIELDS]) -> Result<[u64; FIELDS]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("read /proc/{pid}/smaps_rollup"))?;
    let mut found = [0; FIELDS];
    for (place, name) in found.iter_mut().zip(fields) {
        *place = field(&text, name)?;
    }
    Ok(found)
}

fn field(rollup: &str, name: &str) -> Result<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {name} in smaps_rollup"))?;
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name} {line:?} is no number"))
}

/// The folder of the process's memory control group, where it is one of `owner`'s. Folders below it count in it.
fn memory_group(groups: &str, owner: &str) -> Option<String> {
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    groups.lines().find_map(|line| {
        let (head, path) = line.split_once(':')?.1.split_once(':')?;
        let mount = match head {
            "memory" => "/sys/fs/cgroup/memory",
            "" if v2 => "/sys/fs/cgroup",
            _ => return None,
        };
        let below = path.split_once(owner)?;
        // `.../agentkernel/<id>[/...]`: the box's own group is the first level below the owner's.
        let id = below.1.trim_start_matches('/').split('/').next().unwrap_or_default();
        Some(format!("{mount}{}{owner}/{id}", below.0))
    })
}

fn charged_kib(folder: &str) -> Option<u64> {
    let files = ["memory.current", "memory.usage_in_bytes"];
    let text = files.iter().find_map(|file| std::fs::read_to_string(format!("{folder}/{file}")).ok())?;
    text.trim().parse::<u64>().ok().map(|bytes| bytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_box_is_found() {
        let groups = "5:memory:/agentkernel/0123/payload\n4:pids:/agentkernel/0123\n0::/\n";
        let found = memory_group(groups, "agentkernel");
        if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            assert_eq!(found.as_deref(), Some("/sys/fs/cgroup/memory/agentkernel/0123"));
        }
        assert_eq!(memory_group("5:memory:/user\n", "agentkernel"), None);
    }

    #[test]
    fn a_process_has_a_proportional_set() {
        assert!(rollup_kib(std::process::id(), ["Pss"]).unwrap() > [0]);
    }

    #[test]
    fn fields_are_read_in_kib() {
        let rollup = "00400000-7fff [rollup]\nPss:                1234 kB\nPrivate_Dirty:        56 kB\n";
        assert_eq!(field(rollup, "Pss").unwrap(), 1234);
        assert_eq!(field(rollup, "Private_Dirty").unwrap(), 56);
        assert!(field(rollup, "Swap").is_err());
    }
}
