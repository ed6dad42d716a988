//! The one way from libc's `syscall` to a `Result`.

use rustix::io::{Errno, Result};

/// What `libc::syscall` returned, with errno where it failed. Child-safe.
#[expect(unsafe_code, reason = "errno is read where libc keeps it")]
pub(crate) fn checked(result: libc::c_long) -> Result<libc::c_long> {
    if result != -1 {
        return Ok(result);
    }
    // SAFETY: the pointer is to this thread's own errno, which always exists.
    Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
}
