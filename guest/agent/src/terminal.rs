//! Pseudo-terminals, made inside the box so that their names are valid there.

use std::os::fd::OwnedFd;

use agentkernel_protocol::{Failure, FailureKind, TerminalSize};
use rustix::pty::OpenptFlags;
use rustix::termios::{LocalModes, SpecialCodeIndex, Winsize};

use crate::failure::{failure, reason};

/// The two ends: the agent's and the command's.
pub(crate) fn open(size: TerminalSize) -> Result<(OwnedFd, OwnedFd), Failure> {
    let fail = |error| failure(FailureKind::Other, format!("could not open a terminal: {}", reason(error)));
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = rustix::pty::openpt(flags).map_err(fail)?;
    rustix::pty::unlockpt(&ours).map_err(fail)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags).map_err(fail)?;
    resize(&ours, size).map_err(fail)?;
    Ok((ours, theirs))
}

/// Sets the size; the foreground process group gets SIGWINCH where it changed.
pub(crate) fn resize(terminal: &OwnedFd, size: TerminalSize) -> Result<(), rustix::io::Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// The character that means end-of-file to who reads the terminal by lines (termios(3), VEOF).
pub(crate) fn end_of_file(terminal: &OwnedFd) -> Option<u8> {
    let settings = rustix::termios::tcgetattr(terminal).ok()?;
    let by_lines = settings.local_modes.contains(LocalModes::ICANON);
    by_lines.then(|| settings.special_codes[SpecialCodeIndex::VEOF]).filter(|code| *code != 0)
}
