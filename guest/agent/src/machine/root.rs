//! The root of the box: the image's device, which is only read, below what the box writes; and the way into it.

use std::os::fd::OwnedFd;
use std::path::Path;

use agentkernel_protocol::machine::{Root, Upper};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mount::{self, PLAIN, at};

/// Where the box's root is built; it is moved over the machine's own in the end.
pub(super) const BOX: &str = "/box";

const LOWER: &str = "/run/lower";
const UPPER: &str = "/run/upper";
const LOGS: &str = "/run/logs";
const OWN: &str = "/run/own";

/// Beside the upper folder: there once a first start has come to its end.
const MARK: &str = "/run/upper/made";

/// What was made.
pub(super) struct Made {
    /// The root itself.
    pub(super) folder: OwnedFd,
    /// Where logs of detached commands go: beside the root, where no path of the box leads.
    pub(super) logs: OwnedFd,
    /// Whether no box has run on it yet.
    pub(super) fresh: bool,
}

/// Mounts all of it below [`BOX`].
pub(super) fn make(root: &Root) -> Result<Made, String> {
    for folder in ["/run", LOWER, UPPER, LOGS, BOX] {
        mount::folder(folder, 0o755)?;
    }
    let Root { device, file_system, upper, .. } = root;
    mount::new(file_system, device, Path::new(LOWER), PLAIN | MountFlags::RDONLY, "")?;
    match upper {
        Upper::Memory { bytes } => {
            mount::new("tmpfs", "tmpfs", Path::new(UPPER), PLAIN, &memory_options(0o755, *bytes))?;
        }
        Upper::Device { path, file_system } => {
            mount::new(file_system, path, Path::new(UPPER), PLAIN, "")?;
        }
    }
    for (folder, mode) in [("upper", 0o755), ("work", 0o700), ("log", 0o700)] {
        mount::folder(Path::new(UPPER).join(folder), mode)?;
    }
    let fresh = !Path::new(MARK).exists();
    mount::new("overlay", "overlay", Path::new(BOX), PLAIN, &overlay_options(upper))?;
    // A mount of its own, so that no `..` leads from the agent's descriptor to what is beside the root.
    mount::show(Path::new("/run/upper/log"), Path::new(LOGS), mount::QUIET)?;
    Ok(Made { folder: open(BOX)?, logs: open(LOGS)?, fresh })
}

/// A second way into [`BOX`], that stays writable when the first no longer is.
pub(super) fn writable() -> Result<OwnedFd, String> {
    mount::folder(OWN, 0o700)?;
    mount::show(Path::new(BOX), Path::new(OWN), PLAIN)?;
    let folder = open(OWN)?;
    mount::detach(OWN)?;
    Ok(folder)
}

/// Notes that a later start finds a root that a box has had.
pub(super) fn mark() -> Result<(), String> {
    mount::folder(MARK, 0o700)
}

fn open(folder: &str) -> Result<OwnedFd, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, folder, flags, Mode::empty()).map_err(at(format!("open {folder}")))
}

/// A tmpfs of so many bytes: as many files as it would have of that many pages.
pub(super) fn memory_options(mode: u32, bytes: Option<u64>) -> String {
    match bytes {
        None => format!("mode={mode:o}"),
        Some(bytes) => format!("mode={mode:o},size={bytes},nr_inodes={}", (bytes / 4096).max(4096)),
    }
}

/// What is gone with the machine needn't be put onto a disk (overlayfs.rst, "Volatile mount").
fn overlay_options(upper: &Upper) -> String {
    let volatile = match upper {
        Upper::Memory { .. } => ",volatile",
        Upper::Device { .. } => "",
    };
    format!("lowerdir={LOWER},upperdir={UPPER}/upper,workdir={UPPER}/work{volatile}")
}

/// Makes [`BOX`] the root of this process and of all it will start. What the machine had before is left without any path:
/// its root is below this one, and the rest is detached.
pub(super) fn enter(read_only: bool) -> Result<(), String> {
    if read_only {
        mount::again(Path::new(BOX), PLAIN | MountFlags::RDONLY)?;
    }
    for folder in [LOGS, UPPER, LOWER, "/proc", "/dev"] {
        mount::detach(folder)?;
    }
    let switch = || -> Result<(), Errno> {
        rustix::process::chdir(BOX)?;
        rustix::mount::mount_move(".", "/")?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    };
    switch().map_err(at("enter the root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_kinds_decide_the_options() {
        assert_eq!(memory_options(0o1777, None), "mode=1777");
        assert_eq!(memory_options(0o755, Some(1 << 30)), "mode=755,size=1073741824,nr_inodes=262144");
        assert_eq!(memory_options(0o755, Some(4096)), "mode=755,size=4096,nr_inodes=4096");
        assert!(overlay_options(&Upper::Memory { bytes: None }).ends_with(",volatile"));
        let kept = Upper::Device { path: "/dev/vdb".into(), file_system: "ext4".into() };
        assert!(!overlay_options(&kept).contains("volatile"));
    }
}
