//! What a child keeps of its parent's open files.
//!
//! A clone(2) without CLONE_FILES copies them all, and a copy is as good as the original: a port stays taken, and a pipe or
//! a stream doesn't end, until the last copy is closed. Closing on exec comes too late for a child that waits first.

use std::os::fd::RawFd;

use rustix::io::Errno;

use crate::mount::last_errno;

/// Closes every descriptor from `first` on that is not in `keep`, which must be in ascending order. Child-safe.
///
/// Only for a child between clone and exec that uses none of the others again: their owners in its copy of the memory
/// must not be dropped.
pub(crate) fn close_all_but(first: RawFd, keep: &[RawFd]) -> Result<(), Errno> {
    let mut from = first;
    for &kept in keep.iter().filter(|kept| **kept >= first) {
        close_range(from, kept - 1)?;
        from = kept + 1;
    }
    close_range(from, RawFd::MAX)
}

#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    if first > last {
        return Ok(());
    }
    // SAFETY: plain numbers; that nothing owns them any more is what the only caller's callers promise.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::forked::in_child;

    #[test]
    fn only_what_is_named_stays() {
        let open = |number: RawFd| std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
        let files: Vec<_> = (0..6).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let mut numbers: Vec<RawFd> = files.iter().map(|file| file.as_raw_fd()).collect();
        numbers.sort_unstable();
        let keep = [numbers[1], numbers[1], numbers[2], numbers[4]];
        let ended = in_child(|| {
            close_all_but(3, &keep).unwrap();
            u8::from(numbers.iter().any(|number| open(*number) != keep.contains(number)))
        });
        assert!(ended.success(), "{ended}");
        assert!(numbers.iter().all(|number| open(*number)), "the parent's are its own");
    }
}
