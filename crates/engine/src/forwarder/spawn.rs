//! Starting a forwarder held back, and handing it its listening sockets.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use agentkernel_model::SandboxName;
use agentkernel_store::ForwarderProcess;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::process::identify;

/// One listening socket follows; the port inside in the next two bytes.
const LISTENER: u8 = 1;
/// All have been sent.
const END: u8 = 2;
/// A message is a kind and a port.
const MESSAGE_BYTES: usize = 3;

/// Hands the sockets over and lets the forwarder go to work.
pub type ReleaseListeners = Box<dyn FnOnce(Vec<(TcpListener, u16)>) -> io::Result<()> + Send>;

/// A forwarder that was started and waits. Dropping it unreleased ends it.
pub struct HeldForwarder {
    /// Its lasting name, to be recorded before it is released.
    pub process: ForwarderProcess,
    /// To be called once it is recorded.
    pub release: ReleaseListeners,
}

/// How forwarders are started.
pub trait ForwarderSpawner: Send + Sync {
    /// Starts one for `name`, held back.
    fn spawn(&self, name: &SandboxName) -> io::Result<HeldForwarder>;
}

/// Starts `program arguments... NAME` in the background: the program itself, told to call [`receive_listeners`] and then
/// [`super::serve`].
#[derive(Debug, Clone)]
pub struct ForwarderProgram {
    /// Absolute path of the executable.
    pub program: PathBuf,
    /// What comes before the sandbox's name.
    pub arguments: Vec<OsString>,
}

impl ForwarderSpawner for ForwarderProgram {
    fn spawn(&self, name: &SandboxName) -> io::Result<HeldForwarder> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(name.as_str())
            // It lives long and needs none of it; some of it may be secret.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let process = identify(child.id())?;
        // Whoever starts it may live long (a server): its end is collected.
        std::thread::Builder::new().name("forwarder".to_owned()).spawn(move || drop(child.wait()))?;
        Ok(HeldForwarder { process, release: Box::new(move |listeners| send_listeners(ours, listeners)) })
    }
}

fn send_listeners(socket: OwnedFd, listeners: Vec<(TcpListener, u16)>) -> io::Result<()> {
    for (listener, inside) in &listeners {
        let [high, low] = inside.to_be_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = [listener.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::Error::other("no room for a socket in a message"));
        }
        send(&socket, &[LISTENER, high, low], &mut ancillary)?;
    }
    send(&socket, &[END, 0, 0], &mut SendAncillaryBuffer::default())
}

fn send(
    socket: &OwnedFd,
    message: &[u8; MESSAGE_BYTES],
    ancillary: &mut SendAncillaryBuffer<'_, '_, '_>,
) -> io::Result<()> {
    loop {
        match sendmsg(socket, &[IoSlice::new(message)], ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// In the forwarder: leaves the starter's session and waits on standard input for the listening sockets. `None` where the
/// starter ended without handing them over: there is nothing to do then.
pub fn receive_listeners() -> io::Result<Option<Vec<(TcpListener, u16)>>> {
    // Fails only for a leader of a process group, which nobody's Ctrl-C reaches anyway.
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "the forwarder stays in its starter's session");
    }
    receive(rustix::stdio::stdin())
}

fn receive(socket: impl AsFd) -> io::Result<Option<Vec<(TcpListener, u16)>>> {
    let mut listeners = Vec::new();
    loop {
        let mut message = [0u8; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(&socket, &mut [IoSliceMut::new(&mut message)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
        let count = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let sockets = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => sockets.collect::<Vec<OwnedFd>>(),
            _ => Vec::new(),
        });
        let socket = sockets.into_iter().next();
        match (count, message, socket) {
            (0, ..) => return Ok(None),
            (MESSAGE_BYTES, [END, ..], _) => return Ok(Some(listeners)),
            (MESSAGE_BYTES, [LISTENER, high, low], Some(socket)) => {
                listeners.push((TcpListener::from(socket), u16::from_be_bytes([high, low])));
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message of a starter")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn listeners_arrive_with_their_ports() {
        let (ours, theirs) = pair();
        let sent: Vec<_> = [80, 65_535].map(|port| (TcpListener::bind("127.0.0.1:0").unwrap(), port)).into();
        let addresses: Vec<_> = sent.iter().map(|(listener, _)| listener.local_addr().unwrap()).collect();
        send_listeners(ours, sent).unwrap();
        let got = receive(theirs).unwrap().unwrap();
        assert_eq!(got.iter().map(|(_, port)| *port).collect::<Vec<_>>(), [80, 65_535]);
        assert_eq!(got.iter().map(|(one, _)| one.local_addr().unwrap()).collect::<Vec<_>>(), addresses);
    }

    #[test]
    fn a_starter_that_dies_releases_nothing() {
        let (ours, theirs) = pair();
        drop(ours);
        assert!(receive(theirs).unwrap().is_none());
    }

    #[test]
    fn a_held_forwarder_ends_when_it_is_dropped() {
        // `cat` reads its standard input to the end, as a forwarder does.
        let program =
            ForwarderProgram { program: "/bin/sh".into(), arguments: vec!["-c".into(), "cat; exit".into()] };
        let held = program.spawn(&"box".parse().unwrap()).unwrap();
        let process = held.process.clone();
        assert!(super::super::is_alive(&process));
        let pid = rustix::process::Pid::from_raw(process.pid as i32).unwrap();
        let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        drop(held);
        let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut ends = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
        assert_eq!(rustix::event::poll(&mut ends, Some(&patience)).unwrap(), 1, "it ended");
    }
}
