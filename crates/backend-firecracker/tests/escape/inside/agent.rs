//! The agent, which is the machine's first process: its memory, descriptors, program, and its life.

use super::{each, open_refused, refused};
use crate::stage::Verdict;

const DENIED: &[i32] = &[libc::EACCES, libc::EPERM];
const DENIED_OR_GONE: &[i32] = &[libc::EACCES, libc::EPERM, libc::ENOENT];

pub(super) fn all() -> Verdict {
    each([files(), settings(), signals(), tracing()])
}

fn files() -> Verdict {
    let written = ["mem", "exe"].map(|name| (name, libc::O_WRONLY));
    let read = ["mem", "maps", "environ", "auxv", "root/etc", "cwd/etc", "fd/3", "fd/4", "fd/5", "ns/mnt"];
    let read = read.map(|name| (name, libc::O_RDONLY));
    each(
        written
            .into_iter()
            .chain(read)
            .map(|(name, flags)| open_refused(&format!("/proc/1/{name}"), flags, DENIED_OR_GONE)),
    )
}

/// These open for root of the box, and take nothing.
fn settings() -> Verdict {
    let files = [("uid_map", "0 0 1"), ("gid_map", "0 0 1"), ("timerslack_ns", "1")];
    each(files.map(|(name, text)| {
        let written = std::fs::write(format!("/proc/1/{name}"), text);
        let errno = written.map_err(|error| error.raw_os_error().unwrap_or(0));
        super::held_by(&format!("write {name}"), errno, DENIED_OR_GONE)
    }))
}

/// The kernel gives a first process no signal that it has no handler for, and SIGKILL and SIGSTOP never (signal(7),
/// pid_namespaces(7)): some of these calls succeed and do nothing. That it lives on is for the outside to see.
fn signals() -> Verdict {
    let mut refusals = 0;
    for signal in 1..=64 {
        let sent = super::raw::call(libc::SYS_kill, [1, signal, 0, 0, 0, 0]);
        refusals += usize::from(sent.is_err());
    }
    Ok(format!("{refusals} of 64 signals were refused"))
}

fn tracing() -> Verdict {
    const SEIZE: usize = 0x4206;
    let mut bytes = [0u8; 8];
    let local = [bytes.as_mut_ptr() as usize, bytes.len()];
    let remote = [0x40_0000usize, bytes.len()];
    let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
    let denied = &[DENIED, &[libc::ENOSYS, libc::ESRCH]].concat();
    each([
        refused("ptrace attach", libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, 1, 0, 0], denied),
        refused("ptrace seize", libc::SYS_ptrace, &[SEIZE, 1, 0, 0], denied),
        refused("process_vm_readv", libc::SYS_process_vm_readv, &[1, local, 1, remote, 1, 0], denied),
        refused("process_vm_writev", libc::SYS_process_vm_writev, &[1, local, 1, remote, 1, 0], denied),
        refused("kcmp", libc::SYS_kcmp, &[1, 1, 0, 0, 0], denied),
        take_descriptor(denied),
    ])
}

fn take_descriptor(denied: &[i32]) -> Verdict {
    match super::raw::call(libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0]) {
        Err(errno) => super::held_by::<()>("pidfd_open", Err(errno), denied),
        Ok(pidfd) => refused("pidfd_getfd", libc::SYS_pidfd_getfd, &[pidfd, 0, 0], denied),
    }
}
