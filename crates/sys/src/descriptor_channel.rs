//! Bytes with descriptors over a unix socket between two processes (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The most descriptors of one message; the kernel's own bound is 253.
pub const MOST: usize = 8;

const ROOM: usize = rustix::cmsg_space!(ScmRights(MOST));

/// Sends the beginning of `bytes` and with it `descriptors`; returns how many bytes were sent, at least one. The
/// descriptors go with the first of them. Raises no SIGPIPE.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where the socket doesn't block and has no room: nothing was sent then.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<usize> {
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if borrowed.len() > MOST || bytes.is_empty() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = SendAncillaryBuffer::new(&mut room);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(Errno::NOBUFS.into());
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Receives what is there into `buffer` and adds the descriptors that came with it to `descriptors`; 0 at the end of the
/// stream. What is read from such a socket in any other way loses its descriptors.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where the socket doesn't block and nothing is there;
/// [`io::ErrorKind::InvalidData`] where more descriptors came than [`MOST`].
pub fn receive(socket: impl AsFd, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut room = [MaybeUninit::uninit(); ROOM];
    let mut control = RecvAncillaryBuffer::new(&mut room);
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg(&socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) || descriptors.len() > MOST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "more descriptors came than anybody should send",
        ));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_arrive_with_their_bytes_and_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut first, first_end) = io::pipe().unwrap();
        let (mut second, second_end) = io::pipe().unwrap();
        (&ours).write_all(b"head").unwrap();
        assert_eq!(send(&ours, b"body", &[first_end.into(), second_end.into()]).unwrap(), 4);
        let (mut bytes, mut came) = (Vec::new(), Vec::new());
        while bytes.len() < 8 {
            let mut buffer = [0; 64];
            let length = receive(&theirs, &mut buffer, &mut came).unwrap();
            bytes.extend_from_slice(&buffer[..length]);
        }
        assert_eq!(bytes, b"headbody");
        let mut came = came.into_iter().map(std::fs::File::from);
        came.next().unwrap().write_all(b"1").unwrap();
        came.next().unwrap().write_all(b"2").unwrap();
        assert!(came.next().is_none());
        let mut text = String::new();
        first.read_to_string(&mut text).unwrap();
        second.read_to_string(&mut text).unwrap();
        assert_eq!(text, "12");
        drop(ours);
        assert_eq!(receive(&theirs, &mut [0; 8], &mut Vec::new()).unwrap(), 0);
    }

    #[test]
    fn too_many_are_neither_sent_nor_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let some = |count| (0..count).map(|_| ours.as_fd().try_clone_to_owned().unwrap()).collect::<Vec<_>>();
        assert!(send(&ours, b"x", &some(MOST + 1)).is_err());
        send(&ours, b"x", &some(MOST)).unwrap();
        send(&ours, b"y", &some(1)).unwrap();
        let mut came = Vec::new();
        receive(&theirs, &mut [0; 1], &mut came).unwrap();
        assert_eq!(came.len(), MOST);
        assert!(receive(&theirs, &mut [0; 1], &mut came).is_err());
    }

    #[test]
    fn nobody_to_send_to_is_an_error_and_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(send(&ours, b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
