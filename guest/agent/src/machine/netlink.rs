//! Messages for rtnetlink (rtnetlink(7)), made by hand: four of them in a machine's life don't pay for a library.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The kernel answers while it handles a request.
const ANSWER_SECONDS: i64 = 10;

/// NLMSG_ERROR of linux/netlink.h: an acknowledgement, or an errno.
const MESSAGE_ERROR: u16 = 2;

/// NLM_F_REQUEST and NLM_F_ACK.
const REQUEST: u16 = 0x1 | 0x4;

/// NLM_F_CREATE and NLM_F_REPLACE: what an earlier try has left is fine.
pub(super) const SET: u16 = 0x400 | 0x100;

/// One message in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Of a type, with flags beyond those of every request, and with the structure that such a message begins with.
    pub(super) fn new(kind: u16, flags: u16, body: &[&[u8]]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((REQUEST | flags).to_ne_bytes());
        // A sequence number and a port, which nobody looks at with one message at a time.
        bytes.extend([0; 8]);
        body.iter().for_each(|part| bytes.extend(*part));
        Self(bytes)
    }

    /// With an attribute.
    pub(super) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        // Attributes of a machine's network are a few bytes.
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// On the wire.
    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        if let Some(place) = self.0.first_chunk_mut() {
            *place = length.to_ne_bytes();
        }
        self.0
    }
}

/// A socket that changes links, addresses and routes.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// To the kernel.
    pub(super) fn open() -> Result<Self, Errno> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        // NETLINK_ROUTE is 0: the default.
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self(socket))
    }

    /// The number of a link.
    pub(super) fn index(&self, name: &str) -> Result<u32, Errno> {
        rustix::net::netdevice::name_to_index(&self.0, name)
    }

    /// Has the kernel do it.
    pub(super) fn ask(&self, message: Message) -> Result<(), Errno> {
        rustix::net::send(&self.0, &message.finish(), SendFlags::empty())?;
        let mut ready = [PollFd::new(&self.0, PollFlags::IN)];
        let timeout = Timespec { tv_sec: ANSWER_SECONDS, tv_nsec: 0 };
        if rustix::event::poll(&mut ready, Some(&timeout))? == 0 {
            return Err(Errno::TIMEDOUT);
        }
        let mut answer = [0; 1024];
        let (length, _) = rustix::net::recv(&self.0, &mut answer, RecvFlags::empty())?;
        verdict(answer.get(..length).unwrap_or_default())
    }
}

/// What an answer to one message says.
fn verdict(answer: &[u8]) -> Result<(), Errno> {
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(MESSAGE_ERROR), Some(0)) => Ok(()),
        (Some(MESSAGE_ERROR), Some(error)) => Err(Errno::from_raw_os_error(error.saturating_neg())),
        _ => Err(Errno::BADMSG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_its_length_and_pads_its_attributes() {
        let message = Message::new(16, SET, &[&[9; 4]]).with(4, &[1, 2, 3]).finish();
        assert_eq!(message.len(), 28);
        assert_eq!(message[..4], 28_u32.to_ne_bytes());
        assert_eq!(message[4..8], [16_u16.to_ne_bytes(), 0x505_u16.to_ne_bytes()].concat());
        assert_eq!(message[20..28], [[7, 0, 4, 0], [1, 2, 3, 0]].concat());
    }

    #[test]
    fn only_an_acknowledgement_is_a_yes() {
        let answer = |kind: u16, error: i32| {
            [&36_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &error.to_ne_bytes()].concat()
        };
        assert_eq!(verdict(&answer(MESSAGE_ERROR, 0)), Ok(()));
        assert_eq!(verdict(&answer(MESSAGE_ERROR, -1)), Err(Errno::PERM));
        assert_eq!(verdict(&answer(3, 0)), Err(Errno::BADMSG));
        assert_eq!(verdict(&[]), Err(Errno::BADMSG));
    }
}
