//! How a standard stream is read or written without blocking the only thread.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags};

/// The three ways.
#[derive(Debug)]
pub(crate) enum Route {
    /// A regular file or a device such as /dev/null: never waits for another process, so it is used as it is.
    Direct,
    /// A pipe or pseudo-terminal: opened a second time through /proc. The second opening has flags of its own, so it can
    /// be non-blocking while the inherited one stays as the parent left it.
    Reopened(File),
    /// Sockets, and whatever can't be opened again: a helper thread waits.
    Blocking,
}

/// Major device numbers of Unix98 pseudo-terminals (Documentation/admin-guide/devices.txt). Other terminals (/dev/tty,
/// /dev/ptmx) open as something else than what was inherited.
const PTY_MAJORS: std::ops::RangeInclusive<u32> = 136..=143;

impl Route {
    /// Finds the way for an inherited stream; `access` is `OFlags::RDONLY` or `OFlags::WRONLY`.
    pub(crate) fn of(fd: BorrowedFd<'_>, access: OFlags) -> io::Result<Self> {
        let stat = rustix::fs::fstat(fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Fifo => {}
            FileType::CharacterDevice if PTY_MAJORS.contains(&rustix::fs::major(stat.st_rdev)) => {}
            FileType::CharacterDevice if rustix::termios::isatty(fd) => return Ok(Self::Blocking),
            FileType::Socket => return Ok(Self::Blocking),
            _ => return Ok(Self::Direct),
        }
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        // A pipe of another user (after su) or a missing /proc: the thread can still use the inherited descriptor.
        Ok(rustix::fs::open(path, flags, Mode::empty())
            .map_or(Self::Blocking, |second| Self::Reopened(File::from(second))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn pipes_are_opened_again_and_files_are_not() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(matches!(Route::of(reader.as_fd(), OFlags::RDONLY).unwrap(), Route::Reopened(_)));
        assert!(matches!(Route::of(writer.as_fd(), OFlags::WRONLY).unwrap(), Route::Reopened(_)));
        let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK), "the inherited description keeps its flags");
        let null = File::open("/dev/null").unwrap();
        assert!(matches!(Route::of(null.as_fd(), OFlags::RDONLY).unwrap(), Route::Direct));
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(Route::of(socket.as_fd(), OFlags::RDONLY).unwrap(), Route::Blocking));
    }
}
