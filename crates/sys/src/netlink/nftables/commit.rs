//! Sending a batch, and what the kernel says to it.

use rustix::io::Errno;

use super::batch::Batch;
use super::error::RulesetError;
use crate::netlink::message::{self, HEADER};
use crate::netlink::socket::error_of;
use crate::netlink::{Attributes, NetlinkError, Socket};

/// NLMSGERR_ATTR_OFFS of `linux/netlink.h`.
const ERROR_OFFSET: u16 = 2;
/// Bytes of `struct nlmsgerr` where the refused request is cut to its header.
const ERROR_BODY: usize = 4 + HEADER;

impl Socket {
    /// Makes all changes of `batch`, or none. The socket is one of [`super::super::Protocol::Netfilter`].
    pub fn commit(&mut self, batch: &Batch) -> Result<(), RulesetError> {
        let action = "change the rules";
        let count = batch.changes.len();
        if count == 0 {
            return Ok(());
        }
        self.explain_refusals().map_err(|source| NetlinkError::Transport { action, source })?;
        let first = self.reserve(count + 2);
        self.send(action, &batch.datagram(first))?;
        loop {
            let datagram = self.receive(action)?;
            for received in message::split(datagram) {
                let position = received.sequence.wrapping_sub(first) as usize;
                if position > count || i32::from(received.kind) != libc::NLMSG_ERROR {
                    continue;
                }
                let error = match error_of(received.payload) {
                    Some(Ok(())) if position == count => return Ok(()),
                    Some(Ok(())) | None => return Err(NetlinkError::Malformed { action }.into()),
                    Some(Err(errno)) => errno,
                };
                let offset = Attributes::of(received.payload.get(ERROR_BODY..).unwrap_or_default())
                    .number(ERROR_OFFSET)
                    .map(|offset| offset as usize);
                return Err(batch.refusal(error, position, offset));
            }
        }
    }
}

impl Batch {
    fn refusal(&self, error: Errno, position: usize, offset: Option<usize>) -> RulesetError {
        let change = position.checked_sub(1).and_then(|position| self.changes.get(position));
        let bytes = change.map(|change| change.message.clone().finish(0, 0)).unwrap_or_default();
        RulesetError::refused(error, change.map(|change| (bytes.as_slice(), change.what.as_str())), offset)
    }
}

/// What an answer to a batch of one's own says, which was sent alone on its socket: None where it is no answer.
pub(crate) fn verdict(datagram: &[u8]) -> Option<Result<(), Errno>> {
    let received = message::split(datagram).next()?;
    (i32::from(received.kind) == libc::NLMSG_ERROR).then(|| error_of(received.payload)).flatten()
}
