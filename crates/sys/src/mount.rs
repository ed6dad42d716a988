//! Mounts by descriptor: the parts of the mount API that rustix lacks. All of it is child-safe.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::open_resolved::open_resolved;

/// What a mount forbids, as MOUNT_ATTR_* of mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttributes(u64);

impl MountAttributes {
    /// No set-user-id programs and no devices: every mount of a box has at least these.
    pub const PLAIN: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV);
    /// No set-user-id programs; for device nodes themselves.
    pub const DEVICE: Self = Self(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC);

    /// And not writable.
    pub const fn read_only(self) -> Self {
        Self(self.0 | libc::MOUNT_ATTR_RDONLY)
    }

    /// And no programs.
    pub const fn no_exec(self) -> Self {
        Self(self.0 | libc::MOUNT_ATTR_NOEXEC)
    }
}

/// A private copy of the mount at `source` with everything mounted below it, attached nowhere, with `attributes` added
/// throughout. Errors: open_tree(2), mount_setattr(2).
pub fn clone_tree(source: &CStr, attributes: MountAttributes) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, source, flags)?;
    set_attributes(&tree, attributes, true, None)?;
    Ok(tree)
}

/// The same for a `source` whose links were resolved when it was chosen: one in it now was put there since, perhaps by a
/// box that may write to a folder above, and is refused. Errors: ELOOP for such a link; openat2(2) and as above.
pub fn clone_resolved_tree(source: &CStr, attributes: MountAttributes) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_SYMLINKS;
    let place = open_resolved(CWD, source, OFlags::PATH, resolve)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(&place, c"", flags)?;
    set_attributes(&tree, attributes, true, None)?;
    Ok(tree)
}

/// Adds `attributes` to the mount of `tree` (and those below it where `recursive`), and an id mapping where `user_namespace`
/// is given: then files keep their owners on disk and appear inside as that namespace maps them.
#[expect(unsafe_code, reason = "mount_setattr has no safe wrapper")]
pub fn set_attributes(
    tree: &OwnedFd,
    attributes: MountAttributes,
    recursive: bool,
    user_namespace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(namespace) = user_namespace {
        attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attr.userns_fd = namespace.as_raw_fd() as u64;
    }
    let recursion = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, attr is a mount_attr of the size given, both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            (libc::AT_EMPTY_PATH | recursion) as libc::c_uint,
            &raw mut attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Attaches the detached mount `tree` at `target`, which must exist.
pub fn attach(tree: &OwnedFd, target: &CStr) -> Result<(), Errno> {
    rustix::mount::move_mount(tree, c"", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches the detached mount `tree` over the folder `target` refers to.
pub fn attach_at(tree: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree, c"", target, c"", flags)
}

pub(crate) fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// A mount of the block device `source`, attached nowhere.
pub fn mount_device(source: &CStr, kind: &CStr, attributes: MountAttributes) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"source", source)?;
    rustix::mount::fsconfig_create(&context)?;
    let tree = rustix::mount::fsmount(
        &context,
        rustix::mount::FsMountFlags::FSMOUNT_CLOEXEC,
        rustix::mount::MountAttrFlags::empty(),
    )?;
    set_attributes(&tree, attributes, false, None)?;
    Ok(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt as _;

    #[test]
    fn a_link_anywhere_in_a_resolved_path_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(path.join("real/inner")).unwrap();
        std::os::unix::fs::symlink("real", path.join("link")).unwrap();
        let clone = |name: &str| {
            let source = std::ffi::CString::new(path.join(name).as_os_str().as_bytes()).unwrap();
            clone_resolved_tree(&source, MountAttributes::PLAIN).map(drop)
        };
        for swapped in ["link", "link/inner"] {
            assert_eq!(clone(swapped), Err(Errno::LOOP), "{swapped}");
        }
        match clone("real/inner") {
            Err(Errno::PERM) => println!("SKIPPED: only root may take mounts"),
            other => other.unwrap(),
        }
    }
}
