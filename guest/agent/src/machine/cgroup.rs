//! What all processes of the box may use together: a control group that the agent enters before it starts any, and that no
//! path of the box leads to. The agent itself, as the machine's first process, is never killed for memory.

use std::path::Path;

use agentkernel_protocol::machine::Limits;
use rustix::mount::MountFlags;

use super::freezer::Freezer;
use super::mount::{self, at};
use crate::raw;

const FOLDER: &str = "/run/cgroup";

/// Puts this process, and all it will start, under `limits`. Needs nothing of the kernel where there are none. With
/// `keeper`, a process of the agent's own is let in beside them, and what stops the time of commands is returned: `None`
/// where the kernel has no control groups.
pub(super) fn enter(limits: &Limits, keeper: bool) -> Result<Option<Freezer>, String> {
    let wanted = settings(limits, keeper);
    if wanted.is_empty() && !keeper {
        return Ok(None);
    }
    mount::folder(FOLDER, 0o755)?;
    let flags = mount::QUIET;
    let mounted = mount::new("cgroup2", "cgroup2", Path::new(FOLDER), flags | MountFlags::RELATIME, "");
    if mounted.is_err() && wanted.is_empty() {
        return Ok(None);
    }
    mounted?;
    let controllers = format!("{FOLDER}/cgroup.controllers");
    let offered = std::fs::read_to_string(&controllers).map_err(|error| format!("{controllers}: {error}"))?;
    for Setting { controller, .. } in &wanted {
        if !offered.split_ascii_whitespace().any(|known| known == *controller) {
            return Err(format!("the machine's kernel lacks the control group controller {controller}"));
        }
        write(&format!("{FOLDER}/cgroup.subtree_control"), &format!("+{controller}"))?;
    }
    mount::folder(format!("{FOLDER}/box"), 0o755)?;
    for Setting { file, value, .. } in &wanted {
        write(&format!("{FOLDER}/box/{file}"), &value.to_string())?;
    }
    let freezer = keeper.then(|| Freezer::make(&Path::new(FOLDER).join("box"))).transpose()?;
    write(&format!("{FOLDER}/box/cgroup.procs"), "0")?;
    raw::own_cgroup_root().map_err(at("make a control group namespace"))?;
    mount::detach(FOLDER)?;
    Ok(freezer)
}

/// One line of [`Limits`].
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: u64,
}

/// As cgroup-v2.rst has them.
fn settings(limits: &Limits, keeper: bool) -> Vec<Setting> {
    let Limits { pids, memory_bytes } = limits;
    let pids = pids.map(|value| Setting {
        controller: "pids",
        file: "pids.max",
        value: value.saturating_add(u64::from(keeper)),
    });
    let memory = memory_bytes.map(|value| Setting { controller: "memory", file: "memory.max", value });
    pids.into_iter().chain(memory).collect()
}

fn write(path: &str, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("write {text} to {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limits_ask_for_nothing() {
        assert_eq!(settings(&Limits::default(), true), []);
        assert!(enter(&Limits::default(), false).unwrap().is_none());
        let limits = Limits { pids: Some(9), memory_bytes: Some(1 << 20) };
        assert_eq!(settings(&limits, true)[0].value, 10);
        let both = settings(&limits, false);
        let files: Vec<_> = both.iter().map(|setting| (setting.file, setting.value)).collect();
        assert_eq!(files, [("pids.max", 9), ("memory.max", 1 << 20)]);
    }
}
