//! The life of a share's process, in its jail: it is told its order, waits for the one guest that knows the token, and serves
//! until that has gone. It ends with the machine, since the machine's end is the stream's.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use agentkernel_sys::inherited::take_inherited;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};

use crate::connection::serve;
use crate::jail::{DESCRIPTORS, LISTENER, ORDER, SHARED};
use crate::server::FolderServer;
use crate::start::TOKEN_BYTES;

/// How long a guest that has connected may take to say its token: emulated machines on a busy computer are slow.
const LONGEST_GREETING: Duration = Duration::from_secs(60);

/// What the process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) read_only: bool,
    pub(crate) token: [u8; TOKEN_BYTES],
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&[u8::from(self.read_only)][..], &self.token].concat()
    }

    fn read(from: &mut impl io::Read) -> io::Result<Self> {
        let mut read_only = [0];
        let mut token = [0; TOKEN_BYTES];
        from.read_exact(&mut read_only)?;
        from.read_exact(&mut token)?;
        Ok(Self { read_only: read_only != [0], token })
    }
}

/// The whole life of the process that [`crate::Share::start`] starts; to be called first thing, in a program that was started
/// with [`crate::ShareProgram::arguments`].
///
/// # Errors
/// What it was started with is missing, whoever connected was not the guest, or what the stream gives.
pub fn share_main() -> io::Result<()> {
    let listener = UnixListener::from(take_inherited(LISTENER)?);
    let mut order = File::from(take_inherited(ORDER)?);
    let descriptors = take_inherited(DESCRIPTORS)?;
    let Order { read_only, token } = Order::read(&mut order)?;
    let root = rustix::fs::openat(CWD, SHARED, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let server = FolderServer::new(root, descriptors, read_only)?;
    let Some(stream) = guest(&listener, &order)? else { return Ok(()) };
    // Nobody else is waited for.
    drop((listener, order));
    greet(&stream, &token)?;
    serve(&server, &stream)
}

/// The first who connects; `None` where whoever started this process has gone before that.
fn guest(listener: &UnixListener, order: &File) -> io::Result<Option<UnixStream>> {
    listener.set_nonblocking(true)?;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(order.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let owner_has_gone = !fds[1].revents().is_empty();
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if owner_has_gone => return Ok(None),
            Err(_) => {}
        }
    }
}

/// The agent is the first in its machine, before there is anybody else: whoever says another token is not it, and no second
/// is heard.
fn greet(stream: &UnixStream, token: &[u8; TOKEN_BYTES]) -> io::Result<()> {
    let mut said = [0; TOKEN_BYTES];
    stream.set_read_timeout(Some(LONGEST_GREETING))?;
    { stream }.read_exact(&mut said)?;
    stream.set_read_timeout(None)?;
    if &said == token { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// This process's own `/proc/self/fd`, for who serves outside of a jail.
///
/// # Errors
/// What opening it gives.
pub fn own_descriptors() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, "/proc/self/fd", flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_whole_or_not_at_all() {
        let order = Order { read_only: true, token: [7; TOKEN_BYTES] };
        let bytes = order.encode();
        assert_eq!(Order::read(&mut &bytes[..]).unwrap(), order);
        assert!(Order::read(&mut &bytes[1..]).is_err());
    }

    #[test]
    fn one_who_does_not_know_the_token_is_not_served() {
        use std::io::Write as _;
        for (said, served) in [([1; TOKEN_BYTES], true), ([2; TOKEN_BYTES], false)] {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(&said).unwrap();
            assert_eq!(greet(&here, &[1; TOKEN_BYTES]).is_ok(), served);
        }
    }

    #[test]
    fn without_an_owner_nobody_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let (order, owner) = io::pipe().unwrap();
        let order = File::from(OwnedFd::from(order));
        let early = UnixStream::connect(&path).unwrap();
        drop(owner);
        assert!(guest(&listener, &order).unwrap().is_some(), "who is there already is served");
        drop(early);
        assert!(guest(&listener, &order).unwrap().is_none());
    }
}
