//! For tests: limits that a process can't take back are tried in a child.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Runs `child` in a copy of this process, which exits with its result (101 where it panics); how it ended.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(crate) fn in_child(child: impl FnOnce() -> u8) -> ExitStatus {
    // SAFETY: the child allocates at most, which glibc allows after a fork, and leaves by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: no preconditions; the parent's destructors must not run here.
        unsafe { libc::_exit(code.into()) }
    }
    let mut status = 0;
    // SAFETY: status outlives the call, and the child is ours and was not waited for.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    ExitStatus::from_raw(status)
}

/// Whether tests that need root of the machine can run; says so where they can't.
pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED: needs root");
    }
    root
}
