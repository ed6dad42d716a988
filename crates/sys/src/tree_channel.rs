//! Handing detached mounts to a process that was cloned before they were made (unix(7), SCM_RIGHTS). Child-safe.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Room for one descriptor.
const ROOM: usize = rustix::cmsg_space!(ScmRights(1));

/// Hands over one mount.
pub fn send(channel: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut room);
    let trees = [tree];
    if !control.push(SendAncillaryMessage::ScmRights(&trees)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(channel, &[IoSlice::new(b"t")], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Takes one mount; `None` where the other side is gone.
pub(crate) fn receive(channel: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Errno> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let mut byte = [0];
    let received = loop {
        match recvmsg(channel, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut trees) = message {
            return trees.next().map(Some).ok_or(Errno::BADMSG);
        }
    }
    Err(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_was_sent_arrives_one_by_one_and_then_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut ends = Vec::new();
        for _ in 0..3 {
            let (read, write) = std::io::pipe().unwrap();
            send(ours.as_fd(), write.as_fd()).unwrap();
            ends.push(read);
        }
        (&ours).write_all(b"g").unwrap();
        for (number, mut end) in ends.into_iter().enumerate() {
            let tree = receive(theirs.as_fd()).unwrap().unwrap();
            std::fs::File::from(tree).write_all(number.to_string().as_bytes()).unwrap();
            let mut text = String::new();
            end.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
        assert_eq!(receive(theirs.as_fd()).unwrap_err(), Errno::BADMSG, "a byte without a mount");
        drop(ours);
        assert!(receive(theirs.as_fd()).unwrap().is_none());
    }
}
