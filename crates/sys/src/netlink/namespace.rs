//! Doing something inside a box's network namespace without leaving one's own.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{WaitOptions, WaitStatus};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::message::{self, Message};
use super::socket::{NetlinkError, Protocol, Refusal, error_of};
use crate::process::{Namespaces, clone_into};

/// Stack of the thread that visits a namespace.
const STACK_BYTES: usize = 128 * 1024;
/// Answers that one datagram of requests may bring before the receive buffer overflows.
const BATCH: usize = 32;
/// Exit codes of the visiting child: the request's position follows in the second byte of the pipe's record.
const RECORD: usize = 6;

/// Runs `work` on a short-lived thread inside `namespace`. A thread of its own, since a failed way back would leave the
/// caller's thread in the box. Needs CAP_SYS_ADMIN over the namespace (setns(2)).
pub fn in_network_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, NetlinkError> {
    let visit = move || {
        move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
            .map_err(|source| NetlinkError::Namespace { kind: "network", source })?;
        Ok(work())
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, visit)
            .map_err(|source| NetlinkError::Spawn { source })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes a network namespace, which lives as long as a process or a descriptor refers to it, and runs `work` on a short-lived
/// thread in it; `work` is given the descriptor. Needs CAP_SYS_ADMIN (unshare(2)).
pub fn new_network_namespace<T: Send>(
    work: impl FnOnce(BorrowedFd<'_>) -> T + Send,
) -> Result<(OwnedFd, T), NetlinkError> {
    let make = move || {
        #[expect(unsafe_code, reason = "rustix marks it so for other flags")]
        // SAFETY: NEWNET changes nothing that other threads or the memory rely on.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .map_err(|source| NetlinkError::Namespace { kind: "new network", source })?;
        // Of the thread: another thread is in another namespace.
        let file = std::fs::File::open("/proc/thread-self/ns/net")
            .map_err(|source| NetlinkError::Spawn { source })?;
        let namespace = OwnedFd::from(file);
        let done = work(namespace.as_fd());
        Ok((namespace, done))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("new netns".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, make)
            .map_err(|source| NetlinkError::Spawn { source })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Sends `requests` inside a user namespace and a network namespace that it owns; stops at the first batch
/// with a refusal. For those without rights outside: a user namespace takes only processes of one thread (setns(2)), so
/// a child does it.
pub fn send_in_namespaces(
    user: BorrowedFd<'_>,
    network: BorrowedFd<'_>,
    protocol: Protocol,
    requests: Vec<Message>,
) -> Result<(), NetlinkError> {
    let labels: Vec<&'static str> = requests.iter().map(Message::label).collect();
    let mut batches: Vec<Vec<u8>> = Vec::new();
    for (position, request) in requests.into_iter().enumerate() {
        if position % BATCH == 0 {
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.extend(request.finish(position as u32, libc::NLM_F_ACK as u16));
        }
    }
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|e| NetlinkError::Spawn { source: e.into() })?;
    let mut child = || visit(user, network, protocol, &batches, labels.len(), &writer);
    #[expect(unsafe_code, reason = "a child that enters the namespaces")]
    // SAFETY: `visit` makes system calls through rustix only, with buffers on its stack, and ends in _exit.
    let child = unsafe { clone_into(Namespaces::NONE, None, &mut child) }
        .map_err(|source| NetlinkError::Spawn { source })?;
    drop(writer);
    let mut record = [0; RECORD];
    let told = rustix::io::retry_on_intr(|| rustix::io::read(&reader, &mut record));
    let status =
        rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child.pid), WaitOptions::empty()));
    let clean = status
        .is_ok_and(|status| status.is_some_and(|(_, status)| WaitStatus::exit_status(status) == Some(0)));
    match told {
        Ok(0) if clean => Ok(()),
        Ok(RECORD) => Err(failure(record, &labels)),
        _ => Err(NetlinkError::Spawn { source: io::Error::other("the child died before it had answered") }),
    }
}

/// Where the child failed: the first byte of its record.
#[derive(Clone, Copy)]
enum Stage {
    User = 1,
    Network = 2,
    Transport = 3,
    Refused = 4,
}

fn failure(record: [u8; RECORD], labels: &[&'static str]) -> NetlinkError {
    let position = usize::from(record[1]);
    let source = Errno::from_raw_os_error(i32::from_ne_bytes([record[2], record[3], record[4], record[5]]));
    let action = labels.get(position).copied().unwrap_or("configure a sandbox's network");
    match record[0] {
        r if r == Stage::User as u8 => NetlinkError::Namespace { kind: "user", source },
        r if r == Stage::Network as u8 => NetlinkError::Namespace { kind: "network", source },
        r if r == Stage::Refused as u8 => Refusal { position, action, source }.into(),
        _ => NetlinkError::Transport { action, source },
    }
}

/// The child's life. Child-safe: allocates nothing, takes no lock.
fn visit(
    user: BorrowedFd<'_>,
    network: BorrowedFd<'_>,
    protocol: Protocol,
    batches: &[Vec<u8>],
    count: usize,
    writer: &OwnedFd,
) -> Infallible {
    let result = enter(user, network, protocol).and_then(|socket| {
        let mut left = count;
        batches.iter().try_for_each(|batch| {
            let expected = left.min(BATCH);
            left -= expected;
            send_batch(&socket, batch, expected)
        })
    });
    if let Err((stage, position, errno)) = result {
        let mut record = [stage as u8, position.min(255) as u8, 0, 0, 0, 0];
        record[2..].copy_from_slice(&errno.raw_os_error().to_ne_bytes());
        // The parent sees a missing record as a failure too.
        exit(rustix::io::write(writer, &record).map_or(2, |_| 1));
    }
    exit(0)
}

fn enter(
    user: BorrowedFd<'_>,
    network: BorrowedFd<'_>,
    protocol: Protocol,
) -> Result<OwnedFd, (Stage, usize, Errno)> {
    move_into_link_name_space(user, Some(LinkNameSpaceType::User)).map_err(|e| (Stage::User, 0, e))?;
    move_into_link_name_space(network, Some(LinkNameSpaceType::Network))
        .map_err(|e| (Stage::Network, 0, e))?;
    let open = || {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol.number(),
        )?;
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(fd)
    };
    open().map_err(|e| (Stage::Transport, 0, e))
}

fn send_batch(socket: &OwnedFd, batch: &[u8], expected: usize) -> Result<(), (Stage, usize, Errno)> {
    rustix::net::send(socket, batch, SendFlags::empty()).map_err(|e| (Stage::Transport, 0, e))?;
    let mut answered = 0;
    while answered < expected {
        let mut buffer = [0; 4096];
        let (length, _) = match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
            Err(Errno::INTR) => continue,
            other => other.map_err(|e| (Stage::Transport, 0, e))?,
        };
        for received in message::split(&buffer[..length]) {
            if i32::from(received.kind) != libc::NLMSG_ERROR {
                continue;
            }
            answered += 1;
            let position = received.sequence as usize;
            match error_of(received.payload) {
                Some(Ok(())) => {}
                Some(Err(errno)) => return Err((Stage::Refused, position, errno)),
                None => return Err((Stage::Transport, position, Errno::BADMSG)),
            }
        }
    }
    Ok(())
}

#[expect(unsafe_code, reason = "ends a child without running the parent's exit handlers")]
fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}
