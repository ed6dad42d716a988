//! The keeper: a process beside the agent of a lasting machine, with the few rights that it takes to make the machine another
//! one (its name, clock, addresses, randomness) and to stop and start the time of its commands. The agent gives these rights
//! up before any command runs, and no command ever has them; the keeper does nothing but what the agent passes on from the
//! host. Root of the box may kill it, as any of its processes: the machine can't be paused or copied then, and says so.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use agentkernel_protocol::machine::{Network, NewIdentity, Renewal};
use agentkernel_protocol::{Channel, Event, Failure, FailureKind, Request, decode, encode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::Pid;
use rustix::thread::CapabilitySet;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::freezer::Freezer;
use super::mount::at;
use super::{given, identity, network};
use crate::agent::Agent;
use crate::failure::failure;
use crate::raw::{self, Fork};
use crate::{capability, pump};

/// The most bytes of what is passed on, and of an answer.
const MOST_BYTES: usize = 64 * 1024;

/// All that was done. Anything else is why not.
const DONE: &[u8] = b"done";

/// For the name and the random numbers, the clock, the addresses, and files whoever they belong to.
const RIGHTS: u64 = CapabilitySet::SYS_ADMIN.bits()
    | CapabilitySet::SYS_TIME.bits()
    | CapabilitySet::NET_ADMIN.bits()
    | CapabilitySet::DAC_OVERRIDE.bits()
    | CapabilitySet::FOWNER.bits()
    | CapabilitySet::CHOWN.bits();

/// The agent's side of it.
pub(crate) struct Keeper {
    socket: AsyncFd<OwnedFd>,
    /// One request at a time.
    turn: Mutex<()>,
    pub(super) pid: Pid,
}

/// What it works with, opened before any command ran.
pub(super) struct Parts {
    /// The box's root, writable whatever it is for the box.
    pub(super) root: OwnedFd,
    /// `/dev/urandom`.
    pub(super) random: OwnedFd,
    pub(super) freezer: Freezer,
    /// What the machine has now.
    pub(super) network: Option<Network>,
}

impl Keeper {
    /// Starts it. To be called before rights are given up, within the event loop.
    pub(super) fn start(parts: Parts) -> Result<Self, String> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, its) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(at("make a socket pair"))?;
        let pid = match raw::fork().map_err(at("start the keeper"))? {
            Fork::Child => live(parts, &its),
            Fork::Parent(pid) => pid,
        };
        rustix::io::ioctl_fionbio(&ours, true).map_err(at("use a socket"))?;
        let socket =
            pump::watch(ours, Interest::READABLE).map_err(|error| format!("use a socket: {error}"))?;
        Ok(Self { socket, turn: Mutex::new(()), pid })
    }

    async fn ask(&self, request: &Request) -> Result<(), String> {
        let gone = || "its keeper was ended from inside; stop and start the sandbox".to_owned();
        let bytes = encode(request);
        if bytes.len() > MOST_BYTES {
            return Err(format!("{} bytes are too many for one request", bytes.len()));
        }
        let _turn = self.turn.lock().await;
        rustix::net::send(self.socket.get_ref(), &bytes, SendFlags::NOSIGNAL).map_err(|_| gone())?;
        loop {
            let mut ready = self.socket.readable().await.map_err(|_| gone())?;
            let mut answer = vec![0; MOST_BYTES];
            match rustix::net::recv(self.socket.get_ref(), answer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(gone()),
                Ok((length, _)) => {
                    let answer = answer.get(..length).unwrap_or_default();
                    let why = String::from_utf8_lossy(answer);
                    return if answer == DONE { Ok(()) } else { Err(why.into_owned()) };
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(_) => return Err(gone()),
            }
        }
    }
}

/// Serves [`Request::StandStill`] and [`Request::GoOn`].
pub(crate) async fn pass_on(agent: &Agent, channel: &Channel, request: &Request) -> Result<(), Failure> {
    let Some(keeper) = &agent.keeper else {
        return Err(failure(
            FailureKind::Invalid,
            "only a lasting machine whose kernel has control groups can stand still and go on",
        ));
    };
    keeper.ask(request).await.map_err(|why| failure(FailureKind::Other, why))?;
    // Nobody is left to tell where this fails.
    channel.send(&Event::Done).await.ok();
    Ok(())
}

/// The life of the keeper. Called in a forked child.
fn live(mut parts: Parts, socket: &OwnedFd) -> ! {
    let mut keep = vec![socket.as_raw_fd(), parts.root.as_raw_fd(), parts.random.as_raw_fd()];
    keep.extend(parts.freezer.descriptors());
    raw::close_all_but(&mut keep);
    // It lives and dies with the machine, whose memory is short only for commands. Best effort.
    std::fs::write("/proc/self/oom_score_adj", "-1000").ok();
    let prepared = rustix::thread::set_name(c"keeper")
        .and_then(|()| capability::drop_bounding(RIGHTS))
        .and_then(|()| capability::drop_held(RIGHTS))
        .and_then(|()| rustix::thread::set_no_new_privs(true));
    if prepared.is_err() {
        raw::exit_now(1);
    }
    let mut buffer = vec![0; MOST_BYTES];
    loop {
        let length = match rustix::net::recv(socket, buffer.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) => raw::exit_now(0),
            Ok((length, _)) => length,
            Err(Errno::INTR) => continue,
            Err(_) => raw::exit_now(1),
        };
        let done = serve(&mut parts, buffer.get(..length).unwrap_or_default());
        let answer = done.map_or_else(String::into_bytes, |()| DONE.to_vec());
        let answer = answer.get(..MOST_BYTES).unwrap_or(&answer);
        if rustix::net::send(socket, answer, SendFlags::NOSIGNAL).is_err() {
            raw::exit_now(1);
        }
    }
}

fn serve(parts: &mut Parts, request: &[u8]) -> Result<(), String> {
    match decode(request) {
        Ok(Request::StandStill) => parts.freezer.stop(),
        Ok(Request::GoOn(renewal)) => go_on(parts, *renewal),
        _ => Err("this is nothing for the keeper".to_owned()),
    }
}

/// Commands stand still until all of it is done, and for good where a part of it can't be.
fn go_on(parts: &mut Parts, renewal: Renewal) -> Result<(), String> {
    let Renewal { wall_clock_ns, identity } = renewal;
    // What comes first: it was right when it was sent.
    wall_clock_ns.map_or(Ok(()), identity::set_clock)?;
    if let Some(identity) = identity {
        renew(parts, identity)?;
    }
    parts.freezer.go_on()
}

fn renew(parts: &mut Parts, new: NewIdentity) -> Result<(), String> {
    identity::seed(&parts.random, &new.entropy)?;
    identity::set_name(&new.hostname)?;
    let machine_id = identity::machine_id(&new.machine_id);
    given::file(&parts.root, Path::new(identity::MACHINE_ID), 0o444, machine_id.as_bytes())?;
    for file in &new.files {
        given::file(&parts.root, super::setup::path(&file.path), file.mode, &file.content)?;
    }
    network::renew(parts.network.as_ref(), new.network.as_ref())?;
    parts.network = new.network;
    Ok(())
}
