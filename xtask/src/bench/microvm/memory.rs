//! What machines that do nothing cost the host.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Result, ensure};

use super::super::memory::{processes, rollup_kib};
use super::result::IdleMachines;

/// Of the `machines` of the sandboxes of `state`: all processes that work there.
pub(super) fn of_machines(state: &Path, machines: usize) -> Result<IdleMachines> {
    let (mut private_dirty_kib, mut pss_kib, mut found) = (0, 0, 0);
    let mut folders = HashSet::new();
    // Not the images, of which there are many files and no machine works in.
    ["sandboxes", "firecracker"].iter().for_each(|part| folders_below(&state.join(part), &mut folders));
    for pid in processes().into_iter().filter(|pid| works_in(*pid, &folders)) {
        let [private_dirty, pss] = rollup_kib(pid, ["Private_Dirty", "Pss"])?;
        private_dirty_kib += private_dirty;
        pss_kib += pss;
        found += 1;
    }
    ensure!(found >= machines, "{machines} machines run, and only {found} processes of them were found");
    let each = |kib: u64| kib as f64 / machines as f64;
    Ok(IdleMachines { machines, private_dirty_kib: each(private_dirty_kib), pss_kib: each(pss_kib) })
}

/// Whether its folder or root is one of `folders`, as with VMMs and what serves them. By the folder itself: what it is called
/// where a jail has changed the root tells nothing.
fn works_in(pid: u32, folders: &HashSet<(u64, u64)>) -> bool {
    ["cwd", "root"].iter().any(|link| {
        std::fs::metadata(format!("/proc/{pid}/{link}")).is_ok_and(|folder| folders.contains(&file(&folder)))
    })
}

fn file(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// All folders below `folder`.
fn folders_below(folder: &Path, found: &mut HashSet<(u64, u64)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(metadata) = entry.metadata()
            && metadata.is_dir()
        {
            found.insert(file(&metadata));
            folders_below(&entry.path(), found);
        }
    }
}
