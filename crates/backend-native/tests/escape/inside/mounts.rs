//! Mounts, roots and what they hide.

use super::{Clues, each, raw, refused};
use crate::attempt::Verdict;

const EPERM: &[i32] = &[libc::EPERM];

fn mount(
    what: &str,
    source: &std::ffi::CStr,
    target: &std::ffi::CStr,
    kind: &std::ffi::CStr,
    flags: u64,
) -> Verdict {
    let arguments =
        [source.as_ptr() as usize, target.as_ptr() as usize, kind.as_ptr() as usize, flags as usize, 0];
    refused(what, libc::SYS_mount, &arguments, EPERM)
}

pub(crate) fn new_filesystems(_: &Clues) -> Verdict {
    each([
        mount("mount a tmpfs", c"none", c"/mnt", c"tmpfs", 0),
        mount("mount proc", c"none", c"/mnt", c"proc", 0),
        mount("mount sysfs", c"none", c"/mnt", c"sysfs", 0),
        mount("mount cgroup2", c"none", c"/mnt", c"cgroup2", 0),
        mount("mount cgroup", c"none", c"/mnt", c"cgroup", 0),
        mount("mount devtmpfs", c"none", c"/mnt", c"devtmpfs", 0),
        mount("mount overlay", c"none", c"/mnt", c"overlay", 0),
        mount("mount a disk", c"/dev/sda1", c"/mnt", c"ext4", 0),
    ])
}

pub(crate) fn bind(_: &Clues) -> Verdict {
    each([
        mount("bind /", c"/", c"/mnt", c"", libc::MS_BIND),
        mount("bind /proc/1/root", c"/proc/1/root", c"/mnt", c"", libc::MS_BIND | libc::MS_REC),
        mount("move /proc", c"/proc", c"/mnt", c"", libc::MS_MOVE),
        mount("share /", c"none", c"/", c"", libc::MS_REC | libc::MS_SHARED),
    ])
}

pub(crate) fn remount(_: &Clues) -> Verdict {
    let writable = libc::MS_REMOUNT | libc::MS_BIND;
    each([
        mount("remount / writable", c"none", c"/", c"", writable),
        mount("remount /proc/sys writable", c"none", c"/proc/sys", c"", writable),
        mount("remount a read-only mount", c"none", c"/mnt/probe", c"", writable),
        mount("allow devices", c"none", c"/mnt/shared", c"", writable),
    ])
}

pub(crate) fn unmount(_: &Clues) -> Verdict {
    each([c"/proc", c"/proc/sys", c"/proc/kcore", c"/dev/pts", c"/mnt/shared", c"/"].map(|target| {
        let arguments = [target.as_ptr() as usize, libc::MNT_DETACH as usize];
        refused(&format!("umount {target:?}"), libc::SYS_umount2, &arguments, EPERM)
    }))
}

pub(crate) fn new_mount_calls(_: &Clues) -> Verdict {
    let root = c"/".as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    each([
        refused("fsopen", libc::SYS_fsopen, &[c"tmpfs".as_ptr() as usize, 0], EPERM),
        refused("open_tree", libc::SYS_open_tree, &[here, root, 1], EPERM),
        refused("move_mount", libc::SYS_move_mount, &[here, root, here, root, 0], EPERM),
        refused("mount_setattr", libc::SYS_mount_setattr, &[here, root, 0, 0, 0], EPERM),
        refused("fspick", libc::SYS_fspick, &[here, root, 0], EPERM),
        refused("fsmount", libc::SYS_fsmount, &[0, 0, 0], EPERM),
        refused("fsconfig", libc::SYS_fsconfig, &[0, 0, 0, 0, 0], EPERM),
    ])
}

pub(crate) fn other_root(_: &Clues) -> Verdict {
    let place = c"/tmp".as_ptr() as usize;
    each([
        refused("chroot", libc::SYS_chroot, &[place], EPERM),
        refused("pivot_root", libc::SYS_pivot_root, &[place, place], EPERM),
    ])
}

pub(crate) fn file_handles(_: &Clues) -> Verdict {
    // The handle of inode 2, the root of most file systems: it leads around every mount.
    let handle: [u32; 4] = [8, 1, 2, 0];
    let arguments = [libc::AT_FDCWD as usize, handle.as_ptr() as usize, 0];
    each([
        refused("open_by_handle_at", libc::SYS_open_by_handle_at, &arguments, EPERM),
        refused("name_to_handle_at", libc::SYS_name_to_handle_at, &[0; 5], EPERM),
    ])
}

pub(crate) fn mount_points(_: &Clues) -> Verdict {
    let rename = |from: &std::ffi::CStr, to: &std::ffi::CStr| {
        let here = libc::AT_FDCWD as usize;
        raw::call(libc::SYS_renameat2, [here, from.as_ptr() as usize, here, to.as_ptr() as usize, 0, 0])
    };
    let remove = |path: &std::ffi::CStr, flags: i32| {
        raw::call(
            libc::SYS_unlinkat,
            [libc::AT_FDCWD as usize, path.as_ptr() as usize, flags as usize, 0, 0, 0],
        )
    };
    let busy = &[libc::EBUSY, libc::EROFS, libc::EACCES, libc::EXDEV];
    each([
        super::held_by("rename a mount", rename(c"/mnt/shared", c"/mnt/moved"), busy),
        super::held_by("remove a mounted file", remove(c"/mnt/probe", 0), busy),
        super::held_by("remove a mounted folder", remove(c"/mnt/shared", libc::AT_REMOVEDIR), busy),
        super::held_by("replace /proc", rename(c"/proc", c"/tmp/proc"), busy),
    ])
}
