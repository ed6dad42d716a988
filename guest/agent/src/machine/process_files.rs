//! `/proc` and `/sys` of the box, and what of them no box sees: as every other box of this machine's owner has them.

use std::path::Path;

use rustix::mount::MountFlags;

use super::mount::{self, QUIET};

/// Settings of the whole kernel: to be read only.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Files that tell of the whole machine: its memory, keys and addresses, and when its devices were used.
const HIDDEN_FILES: [&str; 7] =
    ["interrupts", "kallsyms", "kcore", "keys", "latency_stats", "sched_debug", "timer_list"];

/// Folders of the same kind.
const HIDDEN_FOLDERS: [&str; 3] = ["acpi", "asound", "scsi"];

/// In `/sys`.
const HIDDEN_SYSTEM: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// Mounts both below `root`, where both are real folders.
pub(super) fn make(root: &Path) -> Result<(), String> {
    let (proc, sys) = (root.join("proc"), root.join("sys"));
    mount::new("proc", "proc", &proc, QUIET, "")?;
    for path in existing(&proc, &READ_ONLY) {
        mount::show(&path, &path, QUIET | MountFlags::RDONLY)?;
    }
    let blind = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::RDONLY;
    for path in existing(&proc, &HIDDEN_FILES) {
        mount::show(Path::new("/dev/null"), &path, blind)?;
    }
    mount::new("sysfs", "sysfs", &sys, QUIET | MountFlags::RDONLY, "")?;
    for path in existing(&proc, &HIDDEN_FOLDERS).chain(existing(&sys, &HIDDEN_SYSTEM)) {
        mount::new("tmpfs", "tmpfs", &path, QUIET | MountFlags::RDONLY, "mode=555")?;
    }
    Ok(())
}

fn existing<'a>(folder: &Path, names: &'a [&str]) -> impl Iterator<Item = std::path::PathBuf> + use<'a> {
    let folder = folder.to_owned();
    names.iter().map(move |name| folder.join(name)).filter(|path| path.exists())
}
