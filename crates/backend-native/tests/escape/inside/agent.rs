//! The agent: its memory, descriptors and program.

use super::{Clues, each, open_refused};
use crate::attempt::Verdict;

const DENIED: &[i32] = &[libc::EACCES, libc::EPERM];

pub(crate) fn memory(_: &Clues) -> Verdict {
    each([
        open_refused("/proc/1/mem", libc::O_RDWR, DENIED),
        open_refused("/proc/1/mem", libc::O_RDONLY, DENIED),
        open_refused("/proc/1/maps", libc::O_RDONLY, DENIED),
        open_refused("/proc/1/environ", libc::O_RDONLY, DENIED),
        open_refused("/proc/1/auxv", libc::O_RDONLY, DENIED),
        unreadable("/proc/1/stack"),
        unreadable("/proc/1/syscall"),
    ])
}

/// Some files of proc(5) open, and refuse to be read.
fn unreadable(path: &str) -> Verdict {
    match std::fs::read(path) {
        Ok(content) if !content.is_empty() => Err(format!("{path} can be read")),
        Ok(_) => Ok(format!("{path} is empty")),
        Err(error) => Ok(format!("{path}: {error}")),
    }
}

pub(crate) fn links(_: &Clues) -> Verdict {
    each(["root/etc", "cwd/etc", "fd/3", "fd/4", "fd/5"].map(|name| {
        open_refused(&format!("/proc/1/{name}"), libc::O_RDONLY, &[libc::EACCES, libc::EPERM, libc::ENOENT])
    }))
}

pub(crate) fn program(_: &Clues) -> Verdict {
    each([
        open_refused("/proc/1/exe", libc::O_WRONLY, DENIED),
        open_refused("/proc/1/exe", libc::O_RDWR | libc::O_TRUNC, DENIED),
        open_refused("/proc/1/exe", libc::O_PATH, DENIED),
    ])
}
