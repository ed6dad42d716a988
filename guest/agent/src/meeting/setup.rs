//! What the agent does to itself and so to every command, before it serves: the host says what.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit};

use agentkernel_protocol::Setup;

use crate::{capability, raw};

/// The kernel answers while it handles a request.
const ANSWER_SECONDS: i64 = 10;

/// NLMSG_ERROR of linux/netlink.h: an acknowledgement, or an errno.
const MESSAGE_ERROR: u16 = 2;

/// Does all of it, or says what can't be done; nothing may be served then. `keep` are the capabilities that are left.
pub(crate) fn apply(setup: &Setup, keep: u64) -> Result<(), String> {
    if !setup.network_filter.is_empty() {
        filter_network(&setup.network_filter).map_err(|why| format!("filter the network: {why}"))?;
    }
    capability::drop_bounding(keep)
        .and_then(|()| capability::drop_held(keep))
        .map_err(|errno| format!("give up capabilities: {errno}"))?;
    rustix::thread::set_no_new_privs(true).map_err(|errno| format!("give up new privileges: {errno}"))?;
    if !setup.system_call_filter.is_empty() {
        raw::install_filter(&setup.system_call_filter)
            .map_err(|errno| format!("filter system calls: {errno}"))?;
    }
    Ok(())
}

/// Limits of every process, this one's too: no dumps of memory, which the host's kernel would hand to the host's own
/// program, and no more open files than that. Only ever lowers.
pub(crate) fn limit(open_files: Option<u64>) -> Result<(), rustix::io::Errno> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    let Some(asked) = open_files else { return Ok(()) };
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let most = Some(hard.map_or(asked, |hard| hard.min(asked)));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
}

fn filter_network(batch: &[u8]) -> Result<(), String> {
    let step = |action: &'static str| {
        move |errno: rustix::io::Errno| format!("{action}: {errno}; the kernel may lack nf_tables")
    };
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )
    .map_err(step("open a netfilter socket"))?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0)).map_err(step("reach netfilter"))?;
    let sent = rustix::net::send(&socket, batch, SendFlags::empty()).map_err(step("send the rules"))?;
    if sent != batch.len() {
        return Err("the rules are too long for one message".to_owned());
    }
    let mut ready = [PollFd::new(&socket, PollFlags::IN)];
    let timeout = Timespec { tv_sec: ANSWER_SECONDS, tv_nsec: 0 };
    if rustix::event::poll(&mut ready, Some(&timeout)).map_err(step("wait for netfilter"))? == 0 {
        return Err("netfilter doesn't answer".to_owned());
    }
    let mut answer = [0; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())
        .map_err(step("read netfilter's answer"))?;
    verdict(answer.get(..length).unwrap_or_default())
}

/// The first answer decides: only the last change asks for an acknowledgement, and errors come before it.
fn verdict(answer: &[u8]) -> Result<(), String> {
    let word = |at: usize| answer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    match (kind, word(16).map(i32::from_ne_bytes)) {
        (Some(MESSAGE_ERROR), Some(0)) => Ok(()),
        (Some(MESSAGE_ERROR), Some(error)) => {
            let errno = std::io::Error::from_raw_os_error(error.saturating_neg());
            Err(format!("netfilter refused the rules: {errno}"))
        }
        _ => Err("netfilter's answer is not one".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u16, error: i32) -> Vec<u8> {
        let header = [36u32.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &[0; 10]].concat();
        [header.as_slice(), &error.to_ne_bytes(), &[0; 16]].concat()
    }

    #[test]
    fn only_an_acknowledgement_is_a_yes() {
        assert_eq!(verdict(&answer(MESSAGE_ERROR, 0)), Ok(()));
        assert!(verdict(&answer(MESSAGE_ERROR, -1)).unwrap_err().contains("not permitted"));
        assert!(verdict(&answer(MESSAGE_ERROR, i32::MIN)).is_err());
        assert!(verdict(&answer(3, 0)).is_err());
        assert!(verdict(&answer(MESSAGE_ERROR, 0)[..18]).is_err());
        assert!(verdict(&[]).is_err());
    }
}
