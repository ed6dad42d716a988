//! What machines that do nothing cost the host.

use std::path::Path;

use anyhow::{Result, ensure};

use super::super::memory::{processes, rollup_kib};
use super::result::IdleMachines;

/// Of the `machines` of the sandboxes of `state`: all processes that work there.
pub(super) fn of_machines(state: &Path, machines: usize) -> Result<IdleMachines> {
    let (mut private_dirty_kib, mut pss_kib, mut found) = (0, 0, 0);
    for pid in processes().into_iter().filter(|pid| works_in(*pid, state)) {
        let [private_dirty, pss] = rollup_kib(pid, ["Private_Dirty", "Pss"])?;
        private_dirty_kib += private_dirty;
        pss_kib += pss;
        found += 1;
    }
    ensure!(found >= machines, "{machines} machines run, and only {found} processes of them were found");
    let each = |kib: u64| kib as f64 / machines as f64;
    Ok(IdleMachines { machines, private_dirty_kib: each(private_dirty_kib), pss_kib: each(pss_kib) })
}

/// Whether its folder or root is one of this state, as with VMMs and what serves them; seen through links of `/proc`, which
/// lead out of a jail as well.
fn works_in(pid: u32, state: &Path) -> bool {
    ["cwd", "root"].iter().any(|link| {
        std::fs::read_link(format!("/proc/{pid}/{link}"))
            .is_ok_and(|folder| folder.starts_with(state) && folder != state)
    })
}
