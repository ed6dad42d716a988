//! Tricks with links and mounted folders.

use std::ffi::CStr;

use super::{Clues, each, held_by, open_refused, raw, refused};
use crate::attempt::Verdict;

const ABSENT: &[i32] = &[libc::ENOENT];

pub(crate) fn planted_links(_: &Clues) -> Verdict {
    each(
        ["/mnt/shared/absolute-link", "/mnt/shared/relative-link"]
            .map(|path| open_refused(path, libc::O_RDONLY, ABSENT)),
    )
}

pub(crate) fn own_links(clues: &Clues) -> Verdict {
    let secret = clues.get("SECRET_PATH");
    let up = "../".repeat(40);
    let mut verdicts = Vec::new();
    for (name, target) in [
        ("up", format!("{up}{}", &secret[1..])),
        ("absolute", secret.to_owned()),
        ("magic", format!("/proc/self/root{secret}")),
    ] {
        let link = format!("/mnt/shared/own-{name}");
        std::os::unix::fs::symlink(&target, &link).map_err(|error| error.to_string())?;
        verdicts.push(open_refused(&link, libc::O_RDONLY, ABSENT));
        verdicts.push(open_refused(&link, libc::O_WRONLY, ABSENT));
        std::fs::remove_file(&link).map_err(|error| error.to_string())?;
    }
    each(verdicts)
}

pub(crate) fn dot_dot(clues: &Clues) -> Verdict {
    let secret = clues.get("SECRET_PATH");
    each([
        open_refused(&format!("/mnt/shared/{}{}", "../".repeat(40), &secret[1..]), libc::O_RDONLY, ABSENT),
        open_refused("/mnt/shared/../secret", libc::O_RDONLY, ABSENT),
        open_refused(secret, libc::O_RDONLY, ABSENT),
    ])
}

fn link(from: &CStr, to: &CStr) -> Result<usize, i32> {
    let here = libc::AT_FDCWD as usize;
    raw::call(libc::SYS_linkat, [here, from.as_ptr() as usize, here, to.as_ptr() as usize, 0, 0])
}

pub(crate) fn hard_links(_: &Clues) -> Verdict {
    let apart = &[libc::EXDEV, libc::EPERM, libc::EROFS, libc::EACCES];
    each([
        held_by("link a read-only file into the folder", link(c"/mnt/probe", c"/mnt/shared/hard"), apart),
        held_by("link a file of the folder out of it", link(c"/mnt/shared/ordinary", c"/tmp/hard"), apart),
        held_by("link a system file into the folder", link(c"/usr/bin/env", c"/mnt/shared/hard"), apart),
        held_by("link the agent", link(c"/proc/1/exe", c"/tmp/agent"), apart),
    ])
}

pub(crate) fn read_only_mount(_: &Clues) -> Verdict {
    let here = libc::AT_FDCWD as usize;
    let file = c"/mnt/readonly/file".as_ptr() as usize;
    let folder = c"/mnt/readonly".as_ptr() as usize;
    let new = c"/mnt/readonly/new".as_ptr() as usize;
    let closed = &[libc::EROFS];
    each([
        open_refused("/mnt/readonly/file", libc::O_WRONLY, closed),
        open_refused("/mnt/readonly/new", libc::O_WRONLY | libc::O_CREAT, closed),
        open_refused("/mnt/readonly", libc::O_WRONLY | libc::O_TMPFILE, closed),
        refused("remove a file", libc::SYS_unlinkat, &[here, file, 0], closed),
        refused("rename a file", libc::SYS_renameat2, &[here, file, here, new, 0], closed),
        refused("make a folder", libc::SYS_mkdirat, &[here, new, 0o755], closed),
        refused("make a link", libc::SYS_symlinkat, &[file, here, new], closed),
        refused("chmod a file", libc::SYS_fchmodat, &[here, file, 0o777], closed),
        refused("chmod the folder", libc::SYS_fchmodat, &[here, folder, 0o777], closed),
        refused("chown a file", libc::SYS_fchownat, &[here, file, 0, 0, 0], closed),
        refused("set its times", libc::SYS_utimensat, &[here, file, 0, 0], closed),
        refused("truncate it", libc::SYS_truncate, &[file, 0], closed),
        refused(
            "give it an attribute",
            libc::SYS_setxattr,
            &[file, c"user.x".as_ptr() as usize, file, 1, 0],
            closed,
        ),
    ])
}

pub(crate) fn read_only_program(_: &Clues) -> Verdict {
    // A running program is busy, and another user's is closed, before the mount comes into it.
    let closed = &[libc::EROFS, libc::ETXTBSY, libc::EACCES];
    each([
        open_refused("/mnt/probe", libc::O_WRONLY, closed),
        open_refused("/proc/self/exe", libc::O_WRONLY, closed),
    ])
}

pub(crate) fn reopened_read_only(_: &Clues) -> Verdict {
    // A descriptor opened for reading must not become one for writing by way of /proc.
    let file = std::fs::File::open("/mnt/readonly/file").map_err(|error| error.to_string())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&file);
    open_refused(&format!("/proc/self/fd/{number}"), libc::O_WRONLY, &[libc::EROFS])
}

pub(crate) fn file_system_controls(_: &Clues) -> Verdict {
    let folder = std::fs::File::open("/mnt/shared").map_err(|error| error.to_string())?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&folder) as usize;
    let flags = 0x10u32;
    let refusal = &[libc::EPERM, libc::EACCES, libc::ENOTTY, libc::EOPNOTSUPP];
    each([
        refused("freeze the host's file system", libc::SYS_ioctl, &[fd, 0xc004_5877, 0], refusal),
        refused("thaw it", libc::SYS_ioctl, &[fd, 0xc004_5878, 0], refusal),
        refused("trim it", libc::SYS_ioctl, &[fd, 0xc018_5879, &raw const flags as usize], refusal),
        refused(
            "make a folder immutable",
            libc::SYS_ioctl,
            &[fd, 0x4008_6602, &raw const flags as usize],
            refusal,
        ),
    ])
}

pub(crate) fn system_files(clues: &Clues) -> Verdict {
    // Writing over them changes the box's copy or nothing, never the host's.
    for path in ["/usr/bin/env", "/etc/passwd", "/usr/lib/os-release"] {
        let written = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"evil"));
        if clues.is_restrictive() && written.is_ok() {
            return Err(format!("{path} was written under a read-only root"));
        }
    }
    Ok("nothing but copies can have been written".to_owned())
}
