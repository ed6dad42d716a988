//! A netlink socket to the kernel: batches with every answer checked, and dumps.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::message::{self, Message};

/// Requests sent at once: their answers must fit in the socket's receive buffer, where each takes up to a page.
const BATCH: usize = 32;
/// The kernel answers while it handles the request; longer than this means that it never will.
const ANSWER_SECONDS: i64 = 10;

/// Which part of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Interfaces, addresses and routes: rtnetlink(7).
    Route,
    /// nftables.
    Netfilter,
    /// IPsec policies: ip-xfrm(8).
    Policy,
    /// Sockets: sock_diag(7).
    SocketDiagnosis,
}

impl Protocol {
    /// As socket(2) takes it.
    pub(super) fn number(self) -> Option<rustix::net::Protocol> {
        match self {
            Self::Route => None,
            Self::Netfilter => Some(netlink::NETFILTER),
            Self::Policy => Some(netlink::XFRM),
            Self::SocketDiagnosis => Some(netlink::SOCK_DIAG),
        }
    }
}

/// Why the kernel could not be asked, or what it refused.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// No socket.
    #[error("the kernel gives no netlink socket for {protocol:?}")]
    Open {
        /// Which.
        protocol: Protocol,
        /// errno.
        source: Errno,
    },
    /// Sending or receiving failed.
    #[error("netlink failed while trying to {action}")]
    Transport {
        /// The first request of the batch.
        action: &'static str,
        /// errno.
        source: Errno,
    },
    /// An answer that is no answer.
    #[error("the kernel's answer is malformed, asked to {action}")]
    Malformed {
        /// The first request of the batch.
        action: &'static str,
    },
    /// A namespace could not be entered.
    #[error("could not enter the {kind} namespace of a sandbox")]
    Namespace {
        /// `network` or `user`.
        kind: &'static str,
        /// errno.
        source: Errno,
    },
    /// A thread or process could not be started.
    #[error("could not start what enters the sandbox's namespaces")]
    Spawn {
        /// Why.
        source: std::io::Error,
    },
    /// The kernel refused a request.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A request that the kernel refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel refused to {action}")]
pub struct Refusal {
    /// Its position in the batch.
    pub position: usize,
    /// What was asked.
    pub action: &'static str,
    /// errno.
    pub source: Errno,
}

/// A socket bound to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens one in the calling thread's network namespace. It hears the kernel alone, no other process.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let number = protocol.number();
        let open = || -> Result<OwnedFd, Errno> {
            let fd = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                number,
            )?;
            // Connected to port 0: datagrams of anybody else are refused by the kernel (netlink(7)).
            rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
            Ok(fd)
        };
        let fd = open().map_err(|source| NetlinkError::Open { protocol, source })?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; 32 * 1024] })
    }

    /// Sends requests in order and waits for each one's answer. The kernel goes on after a refused one, so all of the
    /// batch is tried; the first refusal is returned.
    pub fn apply(&mut self, requests: Vec<Message>) -> Result<(), NetlinkError> {
        self.exchange(requests, |_, _| {})
    }

    /// As [`Self::apply`], and hands every message of data that the requests bring (kind and payload) to `take`.
    pub fn exchange(
        &mut self,
        requests: Vec<Message>,
        mut take: impl FnMut(u16, &[u8]),
    ) -> Result<(), NetlinkError> {
        let mut refusal = None;
        let mut position = 0;
        let mut requests = requests.into_iter();
        loop {
            let batch: Vec<Message> = requests.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return refusal.map_or(Ok(()), |refusal: Refusal| Err(refusal.into()));
            }
            let count = batch.len();
            let refused = self.exchange_batch(batch, position, &mut take)?;
            refusal = refusal.or(refused);
            position += count;
        }
    }

    /// Asks for a list and hands each entry's kind and payload to `take`.
    pub fn dump(&mut self, request: Message, mut take: impl FnMut(u16, &[u8])) -> Result<(), NetlinkError> {
        let action = request.label();
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        self.send(action, &request.finish(sequence, libc::NLM_F_DUMP as u16))?;
        loop {
            let datagram = self.receive(action)?;
            for received in message::split(datagram) {
                if received.sequence != sequence {
                    continue;
                }
                match i32::from(received.kind) {
                    libc::NLMSG_DONE => {
                        // A list that ends with an error carries it here (4 bytes, or none from old kernels).
                        return match error_of(received.payload) {
                            None | Some(Ok(())) => Ok(()),
                            Some(Err(source)) => Err(Refusal { position: 0, action, source }.into()),
                        };
                    }
                    libc::NLMSG_ERROR => match error_of(received.payload) {
                        Some(Err(source)) => return Err(Refusal { position: 0, action, source }.into()),
                        _ => return Err(NetlinkError::Malformed { action }),
                    },
                    _ => take(received.kind, received.payload),
                }
            }
        }
    }

    fn exchange_batch(
        &mut self,
        batch: Vec<Message>,
        start: usize,
        take: &mut impl FnMut(u16, &[u8]),
    ) -> Result<Option<Refusal>, NetlinkError> {
        let labels: Vec<&'static str> = batch.iter().map(Message::label).collect();
        let action = labels[0];
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::with_capacity(batch.len() * 128);
        for request in batch {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(request.finish(self.sequence, libc::NLM_F_ACK as u16));
        }
        self.send(action, &bytes)?;
        let mut answered = 0;
        let mut refusal = None;
        while answered < labels.len() {
            let datagram = self.receive(action)?;
            for received in message::split(datagram) {
                let index = received.sequence.wrapping_sub(first) as usize;
                if index >= labels.len() {
                    continue;
                }
                if i32::from(received.kind) != libc::NLMSG_ERROR {
                    take(received.kind, received.payload);
                    continue;
                }
                answered += 1;
                match error_of(received.payload) {
                    Some(Ok(())) => {}
                    Some(Err(source)) => {
                        let refused = Refusal { position: start + index, action: labels[index], source };
                        refusal = refusal.or(Some(refused));
                    }
                    None => return Err(NetlinkError::Malformed { action: labels[index] }),
                }
            }
        }
        Ok(refusal)
    }

    /// Sequence numbers for `count` messages of one's own; the first of them.
    pub(super) fn reserve(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count as u32);
        first
    }

    /// From now on the kernel's refusals carry no copy of the request but, from Linux 4.12, where in it they saw what they
    /// don't like (netlink(7)).
    pub(super) fn explain_refusals(&self) -> Result<(), Errno> {
        for option in [libc::NETLINK_CAP_ACK, libc::NETLINK_EXT_ACK] {
            let yes: libc::c_int = 1;
            #[expect(unsafe_code, reason = "options of netlink sockets have no safe wrapper")]
            // SAFETY: the descriptor is open, and the pointer is to an integer of the length given, which outlives the call.
            let result = unsafe {
                libc::setsockopt(
                    self.fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const yes).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                )
            };
            if result != 0 {
                return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
            }
        }
        Ok(())
    }

    pub(super) fn send(&self, action: &'static str, bytes: &[u8]) -> Result<(), NetlinkError> {
        match rustix::net::send(&self.fd, bytes, SendFlags::empty()) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(NetlinkError::Transport { action, source: Errno::MSGSIZE }),
            Err(source) => Err(NetlinkError::Transport { action, source }),
        }
    }

    pub(super) fn receive(&mut self, action: &'static str) -> Result<&[u8], NetlinkError> {
        let fail = |source| NetlinkError::Transport { action, source };
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            match rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), flags) {
                Ok((_, whole)) if whole > self.buffer.len() => return Err(fail(Errno::MSGSIZE)),
                Ok((length, _)) => return Ok(&self.buffer[..length]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
                    let limit = Timespec { tv_sec: ANSWER_SECONDS, tv_nsec: 0 };
                    if rustix::event::poll(&mut fds, Some(&limit)) == Ok(0) {
                        return Err(fail(Errno::TIMEDOUT));
                    }
                }
                Err(source) => return Err(fail(source)),
            }
        }
    }
}

/// The first field of `struct nlmsgerr`: zero or a negative errno. None where there is no such field.
pub(super) fn error_of(payload: &[u8]) -> Option<Result<(), Errno>> {
    let code = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    Some(match code {
        0 => Ok(()),
        code => Err(Errno::from_raw_os_error(code.saturating_neg())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink;

    #[test]
    fn the_loopback_interface_is_found_by_name_and_a_missing_one_is_refused() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let link = netlink::get_link(&mut socket, "lo").unwrap();
        assert_eq!(link.name, "lo");
        assert_eq!(link.index.0, 1);
        let error = netlink::get_link(&mut socket, "no-such-one").unwrap_err();
        assert!(matches!(error, NetlinkError::Refused(Refusal { source: Errno::NODEV, .. })), "{error:?}");
    }

    #[test]
    fn a_batch_goes_on_after_a_refusal_and_names_the_first() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let get = |name| netlink::LinkAnswer::request(name);
        let mut names = Vec::new();
        let mut requests = vec![get("lo"), get("no-such-one"), get("lo")];
        requests.extend((0..BATCH).map(|_| get("lo")));
        let error = socket
            .exchange(requests, |_, payload| {
                names.extend(netlink::LinkAnswer::parse(payload).map(|link| link.name));
            })
            .unwrap_err();
        assert!(matches!(error, NetlinkError::Refused(Refusal { position: 1, .. })), "{error:?}");
        assert_eq!(names.len(), BATCH + 2);
    }
}
