//! A little world of network namespaces, so that nothing is sent anywhere: a host, and an Internet with a server.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Command;

use agentkernel_sys::netlink;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The host towards the Internet.
pub(crate) const HOST: &str = "198.51.100.2";

/// A host, and an Internet with a server.
pub(crate) struct World {
    host: OwnedFd,
    _internet: OwnedFd,
}

impl Drop for World {
    /// What agentkernel has noted of the host's rules, which go with it.
    fn drop(&mut self) {
        let inode = rustix::fs::fstat(&self.host).unwrap().st_ino;
        for ending in ["json", "lock"] {
            std::fs::remove_file(format!("/run/agentkernel/network-{inode}.{ending}")).ok();
        }
    }
}

impl World {
    /// `None`, with the reason printed, where there can be none.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: a world of network namespaces needs root");
            return None;
        }
        if Command::new("ip").arg("-V").output().is_err() {
            println!("SKIPPED: the program ip is missing");
            return None;
        }
        let made = || netlink::new_network_namespace(|_| ()).unwrap().0;
        let (host, internet) = (made(), made());
        let other = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&internet));
        inside(&host, || {
            ip("link set lo up");
            ip(&format!("link add up0 type veth peer name in0 netns {other}"));
            ip(&format!("addr add {HOST}/24 dev up0"));
            ip("link set up0 up");
        });
        inside(&internet, || {
            ip("link set lo up");
            ip("addr add 198.51.100.1/24 dev in0");
            ip("addr add 203.0.113.9/32 dev lo");
            ip("addr add 169.254.169.254/32 dev lo");
            ip("link set in0 up");
            serve("0.0.0.0:8080");
        });
        inside(&host, || {
            ip("route add default via 198.51.100.1");
            serve("0.0.0.0:9090");
        });
        Some(Self { host, _internet: internet })
    }

    /// Runs a test on the world's host, with all that it starts.
    pub(crate) fn on_host(&self, test: impl AsyncFnOnce() + Send) {
        std::thread::scope(|scope| {
            let run = || {
                move_into_link_name_space(self.host.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(test());
            };
            scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

fn inside(namespace: &OwnedFd, work: impl FnOnce() + Send) {
    netlink::in_network_namespace(namespace.as_fd(), work).unwrap();
}

fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Tells each caller its address.
fn serve(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip();
            // Whoever does not wait for the answer has had it.
            writeln!(stream, "{peer}").ok();
        }
    });
}
