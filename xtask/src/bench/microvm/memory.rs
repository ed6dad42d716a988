//! What machines that do nothing cost the host.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::result::IdleMachines;

/// Of the `machines` of the sandboxes of `state`: all processes that their records name.
pub(super) fn of_machines(state: &Path, machines: usize) -> Result<IdleMachines> {
    let (mut private_dirty_kib, mut pss_kib, mut found) = (0, 0, 0);
    for process in processes_of(state)? {
        let rollup = std::fs::read_to_string(process.join("smaps_rollup"))
            .with_context(|| format!("read {}/smaps_rollup", process.display()))?;
        private_dirty_kib += field(&rollup, "Private_Dirty:")?;
        pss_kib += field(&rollup, "Pss:")?;
        found += 1;
    }
    ensure!(found >= machines, "{machines} machines run, and only {found} processes of them were found");
    let each = |kib: u64| kib as f64 / machines as f64;
    Ok(IdleMachines { machines, private_dirty_kib: each(private_dirty_kib), pss_kib: each(pss_kib) })
}

/// Processes that work in a folder of this state, as VMMs and what serves them do; seen through links of `/proc`, which
/// lead out of a jail as well.
fn processes_of(state: &Path) -> Result<Vec<std::path::PathBuf>> {
    let inside = |process: &Path| {
        ["cwd", "root"].iter().any(|link| {
            std::fs::read_link(process.join(link))
                .is_ok_and(|folder| folder.starts_with(state) && folder != state)
        })
    };
    let entries = std::fs::read_dir("/proc").context("read /proc")?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| inside(path)).collect())
}

fn field(rollup: &str, name: &str) -> Result<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name} in smaps_rollup"))?;
    line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{name} {line:?} is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_kib() {
        let rollup = "00400000-7fff [rollup]\nPss:                1234 kB\nPrivate_Dirty:        56 kB\n";
        assert_eq!(field(rollup, "Pss:").unwrap(), 1234);
        assert_eq!(field(rollup, "Private_Dirty:").unwrap(), 56);
        assert!(field(rollup, "Swap:").is_err());
    }
}
