//! Descriptors that whoever started this program opened for it.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Takes the descriptor `number` over: a second descriptor of the same file, closed on exec, in its place; the first is
/// closed. An error where it isn't open, for the standard streams, which are not ours to close, and for one that is closed
/// on exec: this program has made it, and somebody in it owns it.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a standard stream"));
    }
    #[expect(unsafe_code, reason = "a number has to become a descriptor")]
    // SAFETY: borrowed for one fcntl(2), which fails with EBADF where the number isn't open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::io::fcntl_getfd(borrowed)?.contains(rustix::io::FdFlags::CLOEXEC) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a descriptor that was not handed to this program",
        ));
    }
    let ours = rustix::io::fcntl_dupfd_cloexec(borrowed, 3)?;
    #[expect(unsafe_code, reason = "the given number is not used again")]
    // SAFETY: it is open, as the line above has shown, and it is the caller's: it came over exec(2) and nobody in this
    // program made it. Dropping it closes it.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::{AsRawFd, IntoRawFd};

    use super::*;

    #[test]
    fn what_is_taken_works_and_is_taken_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let refused = take_inherited(writer.as_raw_fd()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "this program made it");
        rustix::io::fcntl_setfd(&writer, rustix::io::FdFlags::empty()).unwrap();
        let number = writer.into_raw_fd();
        let mut taken = std::fs::File::from(take_inherited(number).unwrap());
        taken.write_all(b"x").unwrap();
        drop(taken);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x", "no second writer keeps the pipe open");
        assert!(take_inherited(0).is_err());
        assert!(take_inherited(1_000_000).is_err());
    }
}
