//! Mounts, with reasons that name what is missing.

use std::ffi::CString;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// No set-user-id programs and no devices: what every file system of a box is mounted with.
pub(super) const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// And no programs: for what is no place for files.
pub(super) const QUIET: MountFlags = PLAIN.union(MountFlags::NOEXEC);

/// For `map_err`: what failed, in words.
pub(super) fn at(what: impl Into<String>) -> impl FnOnce(Errno) -> String {
    let what = what.into();
    move |errno| format!("{what}: {}", crate::failure::reason(errno))
}

/// A file system of this kind at `target`, from `source` where it has one. `options` as in mount(8).
pub(super) fn new(
    kind: &str,
    source: &str,
    target: &Path,
    flags: MountFlags,
    options: &str,
) -> Result<(), String> {
    let what = || format!("mount {kind} on {}", target.display());
    let options = CString::new(options).map_err(|_| format!("{}: an option holds NUL", what()))?;
    match rustix::mount::mount(source, target, kind, flags, options.as_c_str()) {
        Err(Errno::NODEV) => Err(format!("{}: the machine's kernel lacks the file system {kind}", what())),
        Err(Errno::NOENT | Errno::NXIO | Errno::NOTBLK) if source.starts_with("/dev/") => {
            Err(format!("{}: the machine has no device {source}", what()))
        }
        Err(Errno::INVAL) if source.starts_with("/dev/") => {
            Err(format!("{}: what is on {source} is not {kind}, or is damaged", what()))
        }
        other => other.map_err(at(what())),
    }
}

/// Shows `source` at `target` as well, with `flags`.
pub(super) fn show(source: &Path, target: &Path, flags: MountFlags) -> Result<(), String> {
    let what = || format!("mount {} on {}", source.display(), target.display());
    rustix::mount::mount_bind(source, target).map_err(at(what()))?;
    again(target, flags)
}

/// Gives the mount at `target` other flags. They are the mount's own: the file system's other mounts keep theirs.
pub(super) fn again(target: &Path, flags: MountFlags) -> Result<(), String> {
    rustix::mount::mount_remount(target, MountFlags::BIND | flags, "")
        .map_err(at(format!("restrict the mount on {}", target.display())))
}

/// Takes the mount at `target` out of every path; it lives on for who has it open.
pub(super) fn detach(target: &str) -> Result<(), String> {
    rustix::mount::unmount(target, UnmountFlags::DETACH).map_err(at(format!("detach {target}")))
}

/// Makes a folder; fine if it is there. Nobody but the agent can have put it there.
pub(super) fn folder(path: impl AsRef<Path>, mode: u32) -> Result<(), String> {
    let path = path.as_ref();
    match rustix::fs::mkdir(path, mode.into()) {
        Ok(()) => rustix::fs::chmod(path, mode.into()),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
    .map_err(at(format!("make the folder {}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root may mount");
            return;
        }
        let error = new("nonesuch", "none", folder.path(), PLAIN, "").unwrap_err();
        assert!(error.contains("lacks the file system nonesuch"), "{error}");
        let error = new("ext4", "/dev/nonesuch", folder.path(), PLAIN, "").unwrap_err();
        assert!(error.contains("no device /dev/nonesuch"), "{error}");
        assert!(new("tmpfs", "tmpfs", folder.path(), PLAIN, "a\0b").unwrap_err().contains("NUL"));
    }
}
