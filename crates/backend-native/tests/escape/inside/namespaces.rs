//! New namespaces, and other processes' namespaces.

use std::ffi::CString;

use super::{Clues, each, held_by, raw, refused};
use crate::attempt::Verdict;

const KINDS: [(&str, i32); 8] = [
    ("user", libc::CLONE_NEWUSER),
    ("mount", libc::CLONE_NEWNS),
    ("pid", libc::CLONE_NEWPID),
    ("network", libc::CLONE_NEWNET),
    ("ipc", libc::CLONE_NEWIPC),
    ("uts", libc::CLONE_NEWUTS),
    ("cgroup", libc::CLONE_NEWCGROUP),
    ("time", 0x80),
];

pub(crate) fn unshare(_: &Clues) -> Verdict {
    each(KINDS.map(|(name, flag)| {
        refused(&format!("unshare the {name} namespace"), libc::SYS_unshare, &[flag as usize], &[libc::EPERM])
    }))
}

pub(crate) fn clone(_: &Clues) -> Verdict {
    // The time namespace can't be made by clone: its bit is the exit signal's.
    each(KINDS[..7].iter().map(|(name, flag)| {
        let flags = (*flag | libc::SIGCHLD) as usize;
        let result = raw::call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
        if result == Ok(0) {
            raw::exit(0);
        }
        held_by(&format!("clone into a new {name} namespace"), result, &[libc::EPERM])
    }))
}

pub(crate) fn clone3(_: &Clues) -> Verdict {
    let arguments: [u64; 8] = [libc::CLONE_NEWUSER as u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let result = raw::call(libc::SYS_clone3, [arguments.as_ptr() as usize, 64, 0, 0, 0, 0]);
    if result == Ok(0) {
        raw::exit(0);
    }
    held_by("clone3 into a new user namespace", result, &[libc::ENOSYS])
}

pub(crate) fn join(_: &Clues) -> Verdict {
    each(["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"].map(|name| {
        // Whether or not it opens, setns must be refused.
        let path = CString::new(format!("/proc/1/ns/{name}")).expect("no NUL");
        let here = libc::AT_FDCWD as usize;
        let opened = raw::call(libc::SYS_openat, [here, path.as_ptr() as usize, 0, 0, 0, 0]);
        let fd = opened.unwrap_or(0);
        refused(&format!("setns to the agent's {name} namespace"), libc::SYS_setns, &[fd, 0], &[libc::EPERM])
    }))
}

pub(crate) fn id_maps(_: &Clues) -> Verdict {
    each(["uid_map", "gid_map", "setgroups"].map(|name| {
        let written = std::fs::write(format!("/proc/self/{name}"), "0 0 4294967295");
        let errno = written.map_err(|error| error.raw_os_error().unwrap_or(0));
        held_by(&format!("write {name}"), errno, &[libc::EPERM, libc::EACCES, libc::EINVAL])
    }))
}

pub(crate) fn cgroups(_: &Clues) -> Verdict {
    let seen = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    if let Some(line) = seen.lines().find(|line| !line.ends_with(":/")) {
        return Err(format!("the host's cgroup path is seen: {line}"));
    }
    let tree = std::fs::read_dir("/sys/fs/cgroup").map(|entries| entries.count()).unwrap_or(0);
    if tree != 0 {
        return Err("a cgroup tree is mounted".to_owned());
    }
    each(
        [
            "release_agent",
            "cgroup.procs",
            "memory.max",
            "memory/memory.limit_in_bytes",
            "devices/devices.allow",
        ]
        .map(|name| {
            super::open_refused(
                &format!("/sys/fs/cgroup/{name}"),
                libc::O_WRONLY | libc::O_CREAT,
                &[libc::ENOENT, libc::EROFS, libc::EACCES],
            )
        }),
    )
}
